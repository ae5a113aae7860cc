package io.filterd.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import org.openjdk.jmh.Main;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.CommandLineOptionException;
import org.openjdk.jmh.runner.options.CommandLineOptions;

/**
 * Runs JMH, with the arguments of {@link Main}, and at the end prints the results as Markdown, as
 * bench/results/ has them. With the system property {@code bench.output} writes them to that file
 * too, under a line with the property {@code bench.machine}.
 */
public final class JmhRun {
  private JmhRun() {}

  /** Runs what the arguments say. */
  public static void main(String[] arguments)
      throws CommandLineOptionException, RunnerException, IOException {
    CommandLineOptions options = new CommandLineOptions(arguments);
    if (options.shouldHelp()
        || options.shouldList()
        || options.shouldListWithParams()
        || options.shouldListProfilers()
        || options.shouldListResultFormats()) {
      Main.main(arguments);
      return;
    }
    Collection<RunResult> results = new Runner(options).run();
    String tables =
        "Machine: %s.%n%n%s"
            .formatted(System.getProperty("bench.machine", "?"), ResultTables.of(results));
    System.out.println();
    System.out.print(tables);
    String output = System.getProperty("bench.output", "");
    if (!output.isEmpty()) {
      Files.writeString(Path.of(output), tables);
    }
  }
}
