package io.filterd.kmip;

import java.util.Comparator;

/**
 * A version of the protocol (KMIP 1.4 section 6.1). Minor versions differ by optional fields; from
 * 1.x to 2.0 the attributes changed their form.
 */
public record KmipVersion(int major, int minor) implements Comparable<KmipVersion> {
  public static final KmipVersion V1_0 = new KmipVersion(1, 0);
  public static final KmipVersion V1_1 = new KmipVersion(1, 1);
  public static final KmipVersion V1_2 = new KmipVersion(1, 2);
  public static final KmipVersion V1_3 = new KmipVersion(1, 3);
  public static final KmipVersion V1_4 = new KmipVersion(1, 4);
  public static final KmipVersion V2_0 = new KmipVersion(2, 0);
  public static final KmipVersion V2_1 = new KmipVersion(2, 1);

  private static final Comparator<KmipVersion> ORDER =
      Comparator.comparingInt(KmipVersion::major).thenComparingInt(KmipVersion::minor);

  /** Checks that neither part is negative. */
  public KmipVersion {
    if (major < 0 || minor < 0) {
      throw new IllegalArgumentException("version: %d.%d".formatted(major, minor));
    }
  }

  /** Whether attributes are items under their own tags (2.x), not named ones (1.x). */
  boolean tagsAttributes() {
    return major >= 2;
  }

  /** Whether this is that version or a later one. */
  public boolean isAtLeast(KmipVersion other) {
    return compareTo(other) >= 0;
  }

  @Override
  public int compareTo(KmipVersion other) {
    return ORDER.compare(this, other);
  }

  @Override
  public String toString() {
    return major + "." + minor;
  }
}
