package io.filterd.inventory;

/**
 * What the inventory knows of a disk. Everything needed to open it is in the disk's own descriptor.
 *
 * @param name its name
 * @param file the absolute path of its VMDK
 * @param attached whether the daemon serves it, now and after a restart
 * @param options how it is served then
 */
public record DiskRecord(DiskName name, String file, boolean attached, ServeOptions options) {
  /** A disk that is served for writing, if it is served. */
  public DiskRecord(DiskName name, String file, boolean attached) {
    this(name, file, attached, ServeOptions.DEFAULT);
  }
}
