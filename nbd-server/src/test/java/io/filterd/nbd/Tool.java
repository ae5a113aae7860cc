package io.filterd.nbd;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** Programs of other projects, as clients. */
final class Tool {
  private Tool() {}

  /** Runs one that must end well within a minute; returns all that it said. */
  static String run(Path folder, String... command) throws IOException, InterruptedException {
    Path output = folder.resolve("output");
    Process process = builder(command).redirectOutput(output.toFile()).start();
    assertThat(process.waitFor(60, TimeUnit.SECONDS)).as("%s ends", List.of(command)).isTrue();
    String said = Files.readString(output);
    assertThat(process.exitValue()).as("%s: %s", List.of(command), said).isZero();
    return said;
  }

  /** One that goes on running, with one stream for all that it says. */
  static ProcessBuilder builder(String... command) {
    ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
    // Nbdsh takes the first python3 of the path, and Debian's is the one that has the module.
    builder.environment().put("PATH", "/usr/bin:/bin");
    return builder;
  }
}
