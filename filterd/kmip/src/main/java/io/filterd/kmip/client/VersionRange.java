package io.filterd.kmip.client;

import io.filterd.kmip.KmipVersion;
import java.util.List;

/**
 * The versions a client may speak.
 *
 * @param minimum at least 1.0
 * @param maximum at most 2.1
 */
public record VersionRange(KmipVersion minimum, KmipVersion maximum) {
  private static final List<KmipVersion> ALL =
      List.of(
          KmipVersion.V2_1,
          KmipVersion.V2_0,
          KmipVersion.V1_4,
          KmipVersion.V1_3,
          KmipVersion.V1_2,
          KmipVersion.V1_1,
          KmipVersion.V1_0);

  /** Checks that there is a version in between. */
  public VersionRange {
    if (!ALL.contains(minimum) || !ALL.contains(maximum) || !maximum.isAtLeast(minimum)) {
      throw new IllegalArgumentException(
          "versions: " + minimum + ".." + maximum + " (expected: out of " + ALL.reversed() + ")");
    }
  }

  /** 1.1, which each server certified for vSphere speaks, to 2.1. */
  public static VersionRange defaults() {
    return new VersionRange(KmipVersion.V1_1, KmipVersion.V2_1);
  }

  /** All of them, the latest first. */
  public List<KmipVersion> versions() {
    return ALL.stream().filter(this::contains).toList();
  }

  boolean contains(KmipVersion version) {
    return version.isAtLeast(minimum) && maximum.isAtLeast(version);
  }
}
