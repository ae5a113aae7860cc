package io.filterd.vmdk;

import static io.filterd.vmdk.Finding.Severity.ERROR;
import static io.filterd.vmdk.Finding.Severity.LEAK;
import static io.filterd.vmdk.Finding.Severity.WARNING;

import io.filterd.vmdk.Finding.Severity;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;

/** Collects what a check finds in the files of a disk, and what would mend it. */
final class Findings {
  private static final int PATCH_LIMIT = 100_000;

  private final List<Finding> listed = new ArrayList<>();
  private final Map<Severity, Long> counts = new EnumMap<>(Severity.class);

  long sizeBytes;
  long fileBytes;
  long tables;
  long grains;
  long zeroGrains;
  long leakedBytes;

  CheckReport report(String file, String kind) {
    return new CheckReport(
        file,
        kind,
        List.copyOf(listed),
        new CheckReport.Totals(
            count(ERROR),
            count(WARNING),
            count(LEAK),
            sizeBytes,
            fileBytes,
            tables,
            grains,
            zeroGrains,
            leakedBytes));
  }

  private long count(Severity severity) {
    return counts.getOrDefault(severity, 0L);
  }

  /** What is found in one file. */
  In in(String file) {
    return new In(file);
  }

  private void add(Finding finding) {
    counts.merge(finding.severity(), 1L, Long::sum);
    if (listed.size() < CheckReport.LISTED_LIMIT) {
      listed.add(finding);
    }
  }

  /** The findings in one file. */
  final class In {
    private final String file;
    private final List<Patch> patches = new ArrayList<>();
    private boolean trusted = true;

    private In(String file) {
      this.file = file;
    }

    Findings all() {
      return Findings.this;
    }

    /**
     * Whether every error so far can be mended. Else nobody knows what the lost tables named, so
     * nothing may be taken for free.
     */
    boolean isTrusted() {
      return trusted;
    }

    /** What mends the findings, as far as they can be mended. */
    List<Patch> patches() {
      return patches;
    }

    void error(long at, String field, String actual, String expected, Patch... mending) {
      trusted &= mending.length > 0;
      add(ERROR, at, field, actual, expected, mending);
    }

    void error(FormatException e) {
      error(e.byteOffset(), e.field(), e.actual(), e.expected());
    }

    void warning(long at, String field, String actual, String expected, Patch... mending) {
      add(WARNING, at, field, actual, expected, mending);
    }

    void leak(long at, long bytes, String field, String actual, String expected, Patch mending) {
      leakedBytes += bytes;
      if (trusted) {
        add(LEAK, at, field, actual, expected, mending);
      } else {
        add(LEAK, at, field, actual, expected);
      }
    }

    private void add(
        Severity severity,
        long at,
        String field,
        String actual,
        String expected,
        Patch... mending) {
      Findings.this.add(
          new Finding(
              severity,
              file,
              at,
              field,
              FormatException.printable(actual),
              expected,
              mending.length > 0));
      if (patches.size() < PATCH_LIMIT) { // Else the next repair goes on.
        patches.addAll(List.of(mending));
      }
    }
  }
}
