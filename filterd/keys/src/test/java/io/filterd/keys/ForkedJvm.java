package io.filterd.keys;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.TimeUnit;

/** Runs a main class in a JVM of its own, with the flags that this module says are needed. */
public final class ForkedJvm {
  private ForkedJvm() {}

  /**
   * Returns all that the program printed, on standard output and standard error.
   *
   * @param folder where the program runs and its output is kept
   */
  public static String run(
      Path folder, List<String> jvmArguments, Class<?> main, String... arguments)
      throws IOException, InterruptedException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    // The same text that filterd/keys/pom.xml gives to the tests and the launcher.
    command.addAll(
        List.of(Objects.requireNonNull(System.getProperty("chronicle.jvm.args")).split(" ")));
    command.add("--enable-native-access=ALL-UNNAMED");
    // There is no logger in this module's tests, which SLF4J would mention.
    command.add("-Dslf4j.internal.verbosity=ERROR");
    command.addAll(jvmArguments);
    command.add("-cp");
    command.add(System.getProperty("java.class.path"));
    command.add(main.getName());
    command.addAll(List.of(arguments));

    Path output = folder.resolve("output");
    Process process =
        new ProcessBuilder(command)
            .directory(folder.toFile())
            .redirectErrorStream(true)
            .redirectOutput(output.toFile())
            .start();
    try {
      assertThat(process.waitFor(60, TimeUnit.SECONDS)).as("ends in time").isTrue();
    } finally {
      process.destroyForcibly();
    }
    String text = Files.readString(output, StandardCharsets.UTF_8);
    assertThat(process.exitValue()).as(text).isZero();
    return text;
  }
}
