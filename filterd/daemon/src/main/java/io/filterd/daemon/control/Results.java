package io.filterd.daemon.control;

import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** The results of the operations. Sizes are in bytes. */
public final class Results {
  private Results() {}

  /**
   * A disk in a list.
   *
   * @param state {@code attached}, {@code detached}, or {@code locked}: to be served, but it can't
   *     be
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

  /** How a disk is encrypted. */
  public record Encryption(
      String cipher,
      int unitBytes,
      String diskId,
      String linkId,
      String provider,
      String keyId,
      String checkValue) {}

  /** A disk, whole. */
  public record DiskDetails(
      Disk disk,
      String format,
      @Nullable Encryption encryption,
      String compliance,
      List<String> complianceReasons,
      List<Filter> filters,
      List<String> uris,
      List<Map<String, Object>> connections) {}

  /** A filter that runs, and what it has to tell. */
  public record Filter(
      String name,
      String filterClass,
      String sees,
      Map<String, String> settings,
      Map<String, Object> report) {}

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

  /** A key provider. */
  public record Provider(
      String name, String type, String state, boolean isDefault, List<String> details) {}

  /** All key providers. */
  public record Providers(List<Provider> providers) {}

  /** Something was done; the sentence says what. */
  public record Done(String message) {}

  /** What answers. */
  public record Version(String version, String java, String engine, boolean daemon) {}
}
