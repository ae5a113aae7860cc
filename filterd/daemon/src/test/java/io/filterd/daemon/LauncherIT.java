package io.filterd.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The script that users start. */
class LauncherIT {
  private static final String LAUNCHER = RunningFilterd.HOME + "/filterd/bin/filterd";

  @TempDir Path folder;

  @Test
  void startsFromAnArchiveOfItsClasses() throws IOException {
    // The first daemon has the archive made, if no other test has.
    RunningFilterd.start(folder).close();
    Path log = folder.resolve("classes.log");
    RunningFilterd.tool(
        "env",
        "FILTERD_JAVA_OPTIONS=-Xlog:class+load:file=" + log,
        LAUNCHER,
        "version",
        "-c",
        folder.resolve("filterd.yaml").toString());

    assertThat(Files.readString(log))
        .contains("io.filterd.daemon.cli.Filterd source: shared objects file (top)");
  }

  @Test
  void worksWithAnEmptyEnvironment() throws IOException {
    // As a service manager starts it: not even HOME is set.
    String output =
        RunningFilterd.tool(
            "env",
            "-i",
            "PATH=/usr/bin:/bin",
            "JAVA_HOME=" + System.getProperty("java.home"),
            LAUNCHER,
            "version");

    assertThat(output).contains("filterd 0.1.0");
  }
}
