package io.filterd.inventory;

/**
 * What the inventory knows of a disk. Everything needed to open it is in the disk's own descriptor.
 *
 * @param name its name
 * @param file the absolute path of its VMDK
 * @param attached whether the daemon serves it, now and after a restart
 */
public record DiskRecord(DiskName name, String file, boolean attached) {}
