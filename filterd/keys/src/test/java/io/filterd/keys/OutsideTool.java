package io.filterd.keys;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** Runs programs that are not ours. */
public final class OutsideTool {
  private OutsideTool() {}

  /** What a program printed, which must end well. */
  public static String run(String... command) throws IOException, InterruptedException {
    Path output = Files.createTempFile("outside", ".out");
    try {
      Process process =
          new ProcessBuilder(List.of(command))
              .redirectErrorStream(true)
              .redirectOutput(output.toFile())
              .start();
      try {
        assertThat(process.waitFor(60, TimeUnit.SECONDS)).as("ends in time").isTrue();
      } finally {
        process.destroyForcibly();
      }
      String text = Files.readString(output, StandardCharsets.ISO_8859_1);
      assertThat(process.exitValue()).as("%s: %s", List.of(command), text).isZero();
      return text;
    } finally {
      Files.delete(output);
    }
  }
}
