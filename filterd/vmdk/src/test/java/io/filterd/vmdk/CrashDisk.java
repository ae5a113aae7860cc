package io.filterd.vmdk;

import static java.nio.charset.StandardCharsets.US_ASCII;

import io.filterd.block.BlockException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.LongStream;
import org.jspecify.annotations.Nullable;

/** A disk on files that can crash: in one file, or split. For one thread. */
final class CrashDisk {
  private final CrashOrder order;
  private final List<CrashFile> files;
  private final @Nullable Text text;

  private CrashDisk(CrashOrder order, List<CrashFile> files, @Nullable Text text) {
    this.order = order;
    this.files = files;
    this.text = text;
  }

  /** A descriptor's file: each change of it is whole, and durable at once. */
  private static final class Text implements TextDescriptor.TextFile {
    @SuppressWarnings("ArrayRecordComponent") // never compared
    private record Version(int number, byte[] text) {}

    private final CrashOrder order;
    private final List<Version> versions = new ArrayList<>();

    Text(CrashOrder order, byte[] text) {
      this.order = order;
      versions.add(new Version(-1, text));
    }

    @Override
    public void replace(byte[] text) throws BlockException {
      order.failIfTold();
      versions.add(new Version(order.next(), text));
    }

    @Override
    public void overwrite(byte[] text) throws BlockException {
      replace(text);
    }

    byte[] at(int cut) {
      return versions.stream().filter(v -> v.number() < cut).toList().getLast().text();
    }

    @Override
    public void close() {}
  }

  /** An empty disk in one file. */
  static CrashDisk monolithic(long sizeBytes) throws IOException, BlockException {
    CrashFile made = new CrashFile();
    NewDisk.write(made, Path.of("crash.vmdk"), CreateOptions.ofSize(sizeBytes));
    return of(new CrashFile(made.killedAfter(made.logSize())));
  }

  /** The disk in a file. */
  static CrashDisk of(CrashFile file) {
    return new CrashDisk(file.order(), List.of(file), null);
  }

  /** An empty split disk. */
  static CrashDisk split(long... extentBytes) throws BlockException {
    CrashOrder order = new CrashOrder();
    List<CrashFile> files = new ArrayList<>();
    for (long bytes : extentBytes) {
      CrashFile made = new CrashFile();
      NewDisk.writeExtent(made, bytes);
      files.add(new CrashFile(made.killedAfter(made.logSize()), order));
    }
    String[] lines =
        LongStream.of(extentBytes)
            .mapToObj(bytes -> "RW " + bytes / 512 + " SPARSE \"" + bytes + ".vmdk\"")
            .toArray(String[]::new);
    byte[] text = TestDisks.descriptor("twoGbMaxExtentSparse", lines).getBytes(US_ASCII);
    return new CrashDisk(order, files, new Text(order, text));
  }

  CrashOrder order() {
    return order;
  }

  List<CrashFile> files() {
    return files;
  }

  VmdkDisk open() throws IOException, BlockException {
    Text described = text;
    if (described == null) {
      return VmdkDisk.openSparse(files.getFirst(), Access.READ_WRITE);
    }
    byte[] bytes = described.at(Integer.MAX_VALUE);
    Descriptor descriptor = Descriptor.parse("crash.vmdk", 0, bytes);
    List<CrashFile> left = new ArrayList<>(files);
    return VmdkDisk.openText(described, descriptor, line -> left.removeFirst());
  }

  /** The disk as the process has left it after the first {@code cut} changes and syncs. */
  CrashDisk killedAfter(int cut) {
    return left(cut, file -> file.killedAfter(file.logSizeAt(cut)));
  }

  /** The disk as a power failure after the first {@code cut} changes and syncs may have left it. */
  CrashDisk lostPowerAfter(int cut, SplittableRandom random) {
    return left(cut, file -> file.lostPowerAfter(file.logSizeAt(cut), random));
  }

  @FunctionalInterface
  private interface Crash {
    byte[] of(CrashFile file);
  }

  private CrashDisk left(int cut, Crash crash) {
    CrashOrder next = new CrashOrder();
    List<CrashFile> left = files.stream().map(file -> new CrashFile(crash.of(file), next)).toList();
    Text described = text;
    return new CrashDisk(next, left, described == null ? null : new Text(next, described.at(cut)));
  }
}
