package io.filterd.inventory;

import java.util.regex.Pattern;

/**
 * The name of a disk: the VM it belongs to and its own name there, written {@code vm1/disk0}. It is
 * also the disk's NBD export name and its place below the folder of disks, so both parts keep to
 * letters that are safe in all three.
 *
 * @param vm the VM: 1..63 letters, digits, dots, underscores, hyphens; starts with a letter or
 *     digit
 * @param disk the disk, by the same rule
 */
public record DiskName(String vm, String disk) implements Comparable<DiskName> {
  private static final Pattern PART = Pattern.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,62}");

  /** Checks the rules of the parameters. */
  public DiskName {
    check(vm);
    check(disk);
  }

  private static void check(String part) {
    if (!PART.matcher(part).matches()) {
      throw new IllegalArgumentException(
          "disk name: \""
              + part
              + "\" (expected: VM/DISK, each 1..63 letters, digits, '.', '_' or '-',"
              + " starting with a letter or digit)");
    }
  }

  /**
   * Reads {@code vm/disk}.
   *
   * @throws IllegalArgumentException if it is not of that form
   */
  public static DiskName parse(String text) {
    int slash = text.indexOf('/');
    if (slash <= 0 || text.indexOf('/', slash + 1) >= 0) {
      throw new IllegalArgumentException(
          "disk name: \"" + text + "\" (expected: VM/DISK, for example vm1/disk0)");
    }
    return new DiskName(text.substring(0, slash), text.substring(slash + 1));
  }

  @Override
  public int compareTo(DiskName other) {
    return toString().compareTo(other.toString());
  }

  @Override
  public String toString() {
    return vm + "/" + disk;
  }
}
