package io.filterd.bench;

import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.openjdk.jmh.infra.BenchmarkParams;
import org.openjdk.jmh.results.Result;
import org.openjdk.jmh.results.RunResult;

/**
 * JMH's results as Markdown: a table for each benchmark class, with a row for each set of
 * parameters and columns for each method. Where {@code lengthBytes} is a parameter and times are in
 * nanoseconds, it has GB/s (10^9 bytes) too.
 */
final class ResultTables {
  private static final String LENGTH = "lengthBytes";

  private ResultTables() {}

  /** One table's cells: by the values of the parameters, then by method. */
  private record Table(List<String> parameters, Map<List<String>, Map<String, Result<?>>> rows) {}

  /** The tables of the results. */
  static String of(Collection<RunResult> results) {
    Map<String, Table> tables = new LinkedHashMap<>();
    for (RunResult result : results) {
      BenchmarkParams params = result.getParams();
      String benchmark = params.getBenchmark();
      int dot = benchmark.lastIndexOf('.');
      String type = benchmark.substring(benchmark.lastIndexOf('.', dot - 1) + 1, dot);
      List<String> names = List.copyOf(params.getParamsKeys());
      Table table = tables.computeIfAbsent(type, any -> new Table(names, new LinkedHashMap<>()));
      List<String> values = table.parameters.stream().map(params::getParam).toList();
      table
          .rows
          .computeIfAbsent(values, any -> new LinkedHashMap<>())
          .put(benchmark.substring(dot + 1), result.getPrimaryResult());
    }
    StringBuilder text = new StringBuilder();
    tables.forEach((type, table) -> append(text, type, table));
    return text.toString();
  }

  private static void append(StringBuilder text, String type, Table table) {
    text.append(type).append(":\n\n");
    Map<String, Result<?>> first = table.rows.values().iterator().next();
    String unit = first.values().iterator().next().getScoreUnit();
    if (table.parameters.isEmpty()) {
      appendRow(text, List.of("", unit));
      appendRow(text, List.of("---", "---"));
      first.forEach((method, result) -> appendRow(text, List.of(method, score(result))));
    } else {
      appendByParameters(text, table, unit);
    }
    text.append('\n');
  }

  private static void appendByParameters(StringBuilder text, Table table, String unit) {
    List<String> methods =
        table.rows.values().stream().flatMap(row -> row.keySet().stream()).distinct().toList();
    int length = unit.equals("ns/op") ? table.parameters.indexOf(LENGTH) : -1;
    List<String> head = new ArrayList<>(table.parameters);
    for (String method : methods) {
      head.add(method + ", " + unit);
      if (length >= 0) {
        head.add(method + ", GB/s");
      }
    }
    appendRow(text, head);
    appendRow(text, head.stream().map(name -> "---").toList());
    table.rows.forEach(
        (values, row) -> {
          List<String> cells = new ArrayList<>(values);
          for (String method : methods) {
            Result<?> result = row.get(method);
            cells.add(result == null ? "" : score(result));
            if (length >= 0) {
              cells.add(result == null ? "" : speed(values.get(length), result));
            }
          }
          appendRow(text, cells);
        });
  }

  private static void appendRow(StringBuilder text, List<String> cells) {
    text.append("| ").append(String.join(" | ", cells)).append(" |\n");
  }

  private static String score(Result<?> result) {
    double error = result.getScoreError();
    return Double.isNaN(error)
        ? number(result.getScore())
        : number(result.getScore()) + " ± " + number(error);
  }

  private static String speed(String lengthBytes, Result<?> nanos) {
    return number(Double.parseDouble(lengthBytes) / nanos.getScore());
  }

  /** Three digits or more, and none that noise has made. */
  private static String number(double value) {
    int decimals = value < 10 ? 2 : value < 100 ? 1 : 0;
    return String.format(Locale.ROOT, "%." + decimals + "f", value);
  }
}
