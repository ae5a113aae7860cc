package io.filterd.vmdk;

import java.util.List;

/**
 * What {@link DiskCheck} found out about a disk.
 *
 * @param file the file that was named
 * @param kind the disk's create type, or what the file is without one
 * @param findings the first findings, {@link #LISTED_LIMIT} at most
 * @param totals the figures, of all findings
 */
public record CheckReport(String file, String kind, List<Finding> findings, Totals totals) {
  /** So many findings are listed; all are counted. */
  public static final int LISTED_LIMIT = 1000;

  /**
   * The figures of a check. Sizes are in bytes.
   *
   * @param errors the findings by severity
   * @param warnings likewise
   * @param leaks likewise
   * @param sizeBytes the disk's size by its descriptor, or by its header; 0 if neither is readable
   * @param fileBytes the size of its files
   * @param tables the grain tables that were looked at
   * @param grains the grains that are stored
   * @param zeroGrains the grains that are marked as zeros
   * @param leakedBytes the space that nothing names
   */
  public record Totals(
      long errors,
      long warnings,
      long leaks,
      long sizeBytes,
      long fileBytes,
      long tables,
      long grains,
      long zeroGrains,
      long leakedBytes) {}

  /** Whether nothing was found. */
  public boolean isClean() {
    return totals.errors() + totals.warnings() + totals.leaks() == 0;
  }
}
