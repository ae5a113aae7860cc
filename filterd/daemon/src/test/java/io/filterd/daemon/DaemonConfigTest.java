package io.filterd.daemon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.filterd.daemon.control.OperationException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DaemonConfigTest {
  @TempDir Path folder;

  @Test
  void theSampleHoldsEveryDefault() throws Exception {
    Path sample =
        Files.copy(RunningFilterd.HOME.resolve("conf/filterd.yaml"), folder.resolve("a.yaml"));
    Path empty = Files.writeString(folder.resolve("b.yaml"), "version: 1\n");
    DaemonConfig said = DaemonConfig.load(sample);
    DaemonConfig defaults = DaemonConfig.load(empty);

    // The sample listens on a Unix socket too, which has no default.
    assertThat(said.nbd().listen()).contains(defaults.nbd().listen().getFirst());
    assertThat(said).usingRecursiveComparison().ignoringFields("nbd.listen").isEqualTo(defaults);
  }

  @Test
  void tellsAllProblemsAtOnce() throws Exception {
    Path file =
        Files.writeString(
            folder.resolve("bad.yaml"),
            """
            version: 1
            control: {mode: "0999"}
            nbd: {listen: [{tcp: nowhere}, {}], workers: 0, wrokers: 1}
            keys: {default: none}
            crypto: {engine: fast}
            """);

    OperationException failure =
        catchThrowableOfType(OperationException.class, () -> DaemonConfig.load(file));

    assertThat(failure.code()).isEqualTo(OperationException.Code.INVALID);
    assertThat(failure.details())
        .hasSize(7)
        .allMatch(detail -> detail.startsWith(file + ":"))
        .anyMatch(detail -> detail.contains("did you mean workers?"));
  }

  @Test
  void saysThatThereIsNoFile() {
    OperationException failure =
        catchThrowableOfType(
            OperationException.class, () -> DaemonConfig.load(folder.resolve("none.yaml")));

    assertThat(failure).hasMessageContaining("none.yaml");
  }
}
