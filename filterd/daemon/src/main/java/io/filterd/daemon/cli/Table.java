package io.filterd.daemon.cli;

import java.util.ArrayList;
import java.util.List;

/** A table for people: columns as wide as they need to be, numbers to the right. */
final class Table {
  private final List<List<String>> rows = new ArrayList<>();
  private final boolean[] right;

  /** A table with these column names; a name that starts with {@code >} is set to the right. */
  Table(String... names) {
    right = new boolean[names.length];
    List<String> header = new ArrayList<>();
    for (int i = 0; i < names.length; i++) {
      right[i] = names[i].startsWith(">");
      header.add(right[i] ? names[i].substring(1) : names[i]);
    }
    rows.add(header);
  }

  void add(String... cells) {
    rows.add(List.of(cells));
  }

  /** The lines, each with its line end. */
  @Override
  public String toString() {
    int[] widths = new int[right.length];
    for (List<String> row : rows) {
      for (int i = 0; i < widths.length; i++) {
        widths[i] = Math.max(widths[i], row.get(i).length());
      }
    }
    StringBuilder out = new StringBuilder();
    for (List<String> row : rows) {
      StringBuilder line = new StringBuilder();
      for (int i = 0; i < widths.length; i++) {
        String pad = " ".repeat(widths[i] - row.get(i).length());
        line.append(i == 0 ? "" : "  ");
        line.append(right[i] ? pad + row.get(i) : row.get(i) + pad);
      }
      out.append(line.toString().stripTrailing()).append(System.lineSeparator());
    }
    return out.toString();
  }
}
