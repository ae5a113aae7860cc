package io.filterd.vmdk;

/**
 * One thing that {@link DiskCheck} found.
 *
 * @param severity how bad it is
 * @param file the file it is in
 * @param byteOffset where in the file, in bytes from its start
 * @param field the name of the field in the format's specification
 * @param actual what stands there, without control characters
 * @param expected what should stand there
 * @param repairable whether {@link DiskRepair} mends it
 */
public record Finding(
    Severity severity,
    String file,
    long byteOffset,
    String field,
    String actual,
    String expected,
    boolean repairable) {
  /** How bad a finding is. */
  public enum Severity {
    /** The format's rules are broken: data may be lost, or be damaged by the next write. */
    ERROR,
    /** Not as it should be; nothing is lost by it. */
    WARNING,
    /** Space that is taken and that nothing names. */
    LEAK
  }

  /** The finding in one sentence. */
  public String sentence() {
    return "%s: at byte %d: %s: %s (expected: %s)"
        .formatted(file, byteOffset, field, actual, expected);
  }
}
