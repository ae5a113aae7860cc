package io.filterd.daemon.control;

import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** The results of the operations. Sizes are in bytes. */
public final class Results {
  private Results() {}

  /**
   * A disk in a list.
   *
   * @param state {@code attached}, {@code detached}, {@code attaching}: being opened after a start,
   *     or {@code locked}: by command, or to be served, but it can't be
   * @param reason why it is locked or unreadable, or null
   * @param storedBytes what the file takes on its medium
   */
  public record Disk(
      String name,
      String state,
      @Nullable String reason,
      long sizeBytes,
      long storedBytes,
      @Nullable String policy,
      boolean encrypted,
      String file) {}

  /** All disks. */
  public record Disks(List<Disk> disks) {}

  /** A VM in a list: its disks, and what they have and take together. */
  public record Vm(String name, List<String> disks, long sizeBytes, long storedBytes) {}

  /** All VMs that have disks. */
  public record Vms(List<Vm> vms) {}

  /**
   * The disks that were made out of a package.
   *
   * @param verified whether the package had a manifest, by which its files were checked
   */
  public record ImportedVm(String source, boolean verified, List<Disk> disks) {}

  /** How a disk is encrypted. */
  public record Encryption(
      String cipher,
      int unitBytes,
      String diskId,
      String linkId,
      String provider,
      String keyId,
      String checkValue) {}

  /**
   * A disk, whole.
   *
   * @param warnings what is not right with the files, but does not keep them from being read: of an
   *     import, with those of its source
   * @param access what clients may do, and how many; null if it is not served
   */
  public record DiskDetails(
      Disk disk,
      List<String> warnings,
      String format,
      @Nullable Encryption encryption,
      String compliance,
      List<String> complianceReasons,
      List<Filter> filters,
      @Nullable String access,
      List<String> uris,
      List<Map<String, Object>> connections) {
    /** The same with more warnings. */
    public DiskDetails withWarnings(List<String> more) {
      return new DiskDetails(
          disk,
          Stream.concat(warnings.stream(), more.stream()).toList(),
          format,
          encryption,
          compliance,
          complianceReasons,
          filters,
          access,
          uris,
          connections);
    }
  }

  /** A filter that runs, and what it has to tell. */
  public record Filter(
      String name,
      String filterClass,
      String sees,
      Map<String, String> settings,
      Map<String, Object> report) {}

  /**
   * A client in a list.
   *
   * @param id its number, which no other has for as long as the daemon runs
   * @param client its address; for a Unix socket its process and user
   * @param features what it has negotiated
   * @param idleMillis how long ago its last request was answered
   */
  public record Connection(
      long id,
      String client,
      String disk,
      boolean readOnly,
      List<String> features,
      long requests,
      long errors,
      long bytesRead,
      long bytesWritten,
      int inFlight,
      long ageMillis,
      long idleMillis) {}

  /** All clients. */
  public record Connections(List<Connection> connections) {}

  /**
   * How long the requests of one kind took. Percentiles are rounded up to the limit of their
   * bucket, and null if that has none.
   */
  public record Latencies(
      String command,
      long requests,
      long meanMicros,
      @Nullable Long medianMicros,
      @Nullable Long p99Micros,
      List<Bucket> histogram) {}

  /**
   * How many requests took less than this, and no less than the bucket before; null: any longer.
   */
  public record Bucket(@Nullable Long lessThanMicros, long requests) {}

  /** A client, whole. */
  public record ConnectionDetails(Connection connection, List<Latencies> latencies) {}

  /**
   * A point in the changes of a disk.
   *
   * @param since when it was set, in ISO 8601
   * @param grainBytes what changes are told apart by
   */
  public record ChangePoint(String point, String since, int grainBytes) {}

  /** All points of a disk, the oldest first. */
  public record ChangePoints(String name, List<ChangePoint> points) {}

  /** A range that was changed. */
  public record ChangedRange(long offset, long lengthBytes) {}

  /**
   * What was changed since a point.
   *
   * @param changedBytes the sum of the ranges
   * @param next where the answer ends, if that is before the disk's end; else null
   */
  public record Changes(
      String name,
      String point,
      long sizeBytes,
      long changedBytes,
      @Nullable Long next,
      List<ChangedRange> ranges) {}

  /** A policy in a list. */
  public record Policy(
      String name,
      String description,
      List<String> filters,
      @Nullable String encryption,
      String file,
      List<String> disks) {}

  /** All policies. */
  public record Policies(List<Policy> policies) {}

  /**
   * A snapshot.
   *
   * @param time when it was taken; null if filterd did not take it
   * @param depth how many snapshots one goes back to it: 1 for the newest
   * @param changedBytes what the medium holds of changes since, up to the next newer snapshot
   * @param file the link with its state
   */
  public record Snapshot(
      String name, @Nullable String time, int depth, long changedBytes, String file) {}

  /** The snapshots of a disk, the newest first. */
  public record Snapshots(String disk, List<Snapshot> snapshots) {}

  /**
   * A key provider.
   *
   * @param health {@code green}, {@code yellow} or {@code red}
   * @param waitingDisks how many disks are locked until it answers
   */
  public record Provider(
      String name,
      String type,
      String state,
      String health,
      boolean isDefault,
      int waitingDisks,
      List<String> details) {}

  /** All key providers. */
  public record Providers(List<Provider> providers) {}

  /** Something was done; the sentence says what. */
  public record Done(String message) {}

  /** What answers. */
  public record Version(String version, String java, String engine, boolean daemon) {}
}
