package io.filterd.bench;

import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Path;
import java.util.Collection;
import java.util.Optional;
import org.openjdk.jmh.Main;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.CommandLineOptionException;
import org.openjdk.jmh.runner.options.CommandLineOptions;

/**
 * Runs JMH, with the arguments of {@link Main}, and at the end prints the results as Markdown, as
 * bench/results/ has them. With the system property {@code bench.output} puts them into that
 * {@linkplain ResultFile file} too, under a line with the property {@code bench.machine}.
 */
public final class JmhRun {
  private JmhRun() {}

  /** Runs what the arguments say. */
  public static void main(String[] arguments) throws IOException, RunnerException {
    try {
      run(arguments);
    } catch (CommandLineOptionException | FileSystemException wrong) {
      System.err.println("bench/jmh: " + wrong.getMessage());
      System.exit(2);
    }
  }

  private static void run(String[] arguments)
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
    String output = System.getProperty("bench.output", "");
    Optional<ResultFile> file =
        output.isEmpty() ? Optional.empty() : Optional.of(ResultFile.open(Path.of(output)));
    Collection<RunResult> results = new Runner(options).run();
    String figures =
        "Machine: %s.%n%n%s"
            .formatted(System.getProperty("bench.machine", "unknown"), ResultTables.of(results));
    System.out.printf("%n%s", figures);
    if (file.isPresent()) {
      file.get().replaceFigures(figures);
    }
  }
}
