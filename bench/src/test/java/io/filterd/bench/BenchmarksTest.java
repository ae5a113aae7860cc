package io.filterd.bench;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Collection;
import org.junit.jupiter.api.Test;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.Options;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.TimeValue;
import org.openjdk.jmh.runner.options.VerboseMode;

/** Every benchmark, for a moment and with every engine, filter and device: that it still runs. */
final class BenchmarksTest {
  @Test
  void everyBenchmarkRunsAndGetsATable() throws RunnerException {
    Options once =
        new OptionsBuilder()
            .include(".*")
            .forks(0)
            .warmupIterations(0)
            .measurementIterations(1)
            .measurementTime(TimeValue.milliseconds(1))
            .param("sizeMebibytes", "1")
            .shouldFailOnError(true)
            .verbosity(VerboseMode.SILENT)
            .build();

    Collection<RunResult> results = new Runner(once).run();

    assertThat(ResultTables.of(results))
        .contains(
            "DekCacheBenchmark:\n\n|  | us/op |\n",
            "XtsBenchmark:\n\n| engine | lengthBytes | unitBytes | decipher, ns/op | decipher, GB/s |",
            "| accp | 65536 | 512 |",
            "NbdCodecBenchmark:\n\n|  | ns/op |\n",
            "PipelineBenchmark:\n\n| filters | read, ns/op | write, ns/op |\n",
            "| inspection+qos+encryption |",
            "GrainLookupBenchmark:\n\n| device | sizeMebibytes | read, ns/op |\n",
            "| chain | 1 |");
  }
}
