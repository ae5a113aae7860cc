package io.filterd.ova;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/**
 * What an envelope says of the disks of its VM (DSP0243, "References", "DiskSection",
 * "VirtualHardwareSection").
 *
 * @param place the envelope's file, for messages
 * @param name the VM's name
 * @param files the files of the package, by their ids
 * @param disks the disks of the package, by their ids
 * @param used the ids of the disks that the VM has, in the order of its hardware
 */
record Envelope(
    String place,
    String name,
    Map<String, FileEntry> files,
    Map<String, DiskEntry> disks,
    List<String> used) {
  /** The most disks of a VM, as vSphere has it. */
  static final int DISK_LIMIT = 256;

  /** A {@code File} of the references; the line is where it stands. */
  record FileEntry(
      int line,
      String href,
      @Nullable String size,
      @Nullable String compression,
      @Nullable String chunkSize) {}

  /** A {@code Disk} of the disk section. */
  record DiskEntry(
      int line,
      String capacity,
      @Nullable String unit,
      @Nullable String fileRef,
      @Nullable String format,
      @Nullable String parentRef) {}

  /** The VM's disks, and the files they are in; an entry that can't be read is refused. */
  Map<OvfDisk, Optional<FileEntry>> vmDisks() throws PackageException {
    Map<OvfDisk, Optional<FileEntry>> all = new LinkedHashMap<>();
    // Without hardware that has disks they are all meant.
    for (String id : used.isEmpty() ? List.copyOf(disks.keySet()) : used) {
      DiskEntry disk = disks.get(id);
      if (disk == null) {
        throw new PackageException(place, "HostResource", "disk " + id, "one of the DiskSection");
      }
      String at = place + " line " + disk.line();
      Optional<FileEntry> file = file(disk, at);
      OvfDisk found = new OvfDisk(id, capacity(disk, at), file.map(FileEntry::href));
      if (all.put(found, file) != null) {
        throw new PackageException(place, "HostResource", "disk " + id + " twice", "once");
      }
    }
    if (all.size() > DISK_LIMIT) {
      throw new PackageException(
          place, "HostResource", all.size() + " disks", "at most " + DISK_LIMIT);
    }
    if (all.isEmpty()) {
      throw new PackageException(place, "DiskSection", "no disks", "at least one");
    }
    return all;
  }

  private static long capacity(DiskEntry disk, String at) throws PackageException {
    String unit = disk.unit() == null ? "byte" : disk.unit();
    OptionalLong bytes = Capacity.bytes(disk.capacity(), unit);
    if (bytes.isEmpty()) {
      throw new PackageException(
          at,
          "capacity",
          disk.capacity() + " " + unit,
          "a number and a unit like byte * 2^30, up to 1 EiB");
    }
    return bytes.getAsLong();
  }

  private Optional<FileEntry> file(DiskEntry disk, String at) throws PackageException {
    if (disk.parentRef() != null) {
      throw new PackageException(at, "parentRef", disk.parentRef(), "disks without parents");
    }
    if (disk.fileRef() == null || disk.fileRef().isEmpty()) {
      return Optional.empty();
    }
    FileEntry file = files.get(disk.fileRef());
    if (file == null) {
      throw new PackageException(at, "fileRef", disk.fileRef(), "a File of the References");
    }
    if (disk.format() != null && !disk.format().toLowerCase(Locale.ROOT).contains("vmdk")) {
      throw new PackageException(at, "format", disk.format(), "a VMDK");
    }
    String fileAt = place + " line " + file.line();
    if (!Member.isPlainName(file.href())) {
      throw new PackageException(fileAt, "href", file.href(), "a file of the package");
    }
    String compression = file.compression();
    if (compression != null && !compression.isEmpty() && !compression.equals("identity")) {
      throw new PackageException(fileAt, "compression", compression, "none: unpack it first");
    }
    if (file.chunkSize() != null) {
      throw new PackageException(
          fileAt, "chunkSize", file.chunkSize(), "a file in one piece: join it first");
    }
    return Optional.of(file);
  }
}
