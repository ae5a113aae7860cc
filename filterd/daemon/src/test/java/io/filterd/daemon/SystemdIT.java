package io.filterd.daemon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The daemon as a service of systemd: its sample units, and sockets that are there before it is.
 */
class SystemdIT {
  @TempDir Path folder;

  @Test
  void acceptsTheSampleUnits() throws IOException {
    Path conf = RunningFilterd.HOME.resolve("conf");
    Path launcher = RunningFilterd.HOME.resolve("filterd/bin/filterd");
    String service = Files.readString(conf.resolve("filterd.service"));
    assertThat(service).contains("/opt/filterd/filterd/bin/filterd");
    Path unit =
        Files.writeString(
            folder.resolve("filterd.service"),
            service.replace("/opt/filterd/filterd/bin/filterd", launcher.toString()));
    Path socket = Files.copy(conf.resolve("filterd.socket"), folder.resolve("filterd.socket"));

    assertThat(RunningFilterd.tool("systemd-analyze", "verify", unit.toString(), socket.toString()))
        .isEmpty();
  }

  @Test
  void startsForTheFirstClientOfASocket() throws IOException, InterruptedException {
    int port = RunningFilterd.freePort();
    Path config = RunningFilterd.configure(folder, port);
    String text = Files.readString(config);
    Files.writeString(config, text.replaceAll("(?m)^nbd: .*$", "nbd: {listen: [{systemd: nbd}]}"));
    Path log = folder.resolve("daemon.log");
    Process daemon =
        new ProcessBuilder(
                "systemd-socket-activate",
                "--listen=127.0.0.1:" + port,
                "--fdname=nbd",
                RunningFilterd.HOME.resolve("filterd/bin/filterd").toString(),
                "serve",
                "-c",
                config.toString())
            .redirectErrorStream(true)
            .redirectOutput(log.toFile())
            .start();
    try {
      await().until(() -> Files.readString(log).contains("Listening on 127.0.0.1:" + port));
      String found = RunningFilterd.tool("nbdinfo", "--list", "nbd://127.0.0.1:" + port);
      assertThat(found).contains("protocol: newstyle-fixed");
      await()
          .atMost(Duration.ofSeconds(60))
          .until(() -> Files.exists(folder.resolve("control.sock")));
    } finally {
      daemon.destroy();
      assertThat(daemon.waitFor(60, TimeUnit.SECONDS)).isTrue();
    }
    assertThat(Files.readString(log)).contains("stopped");
  }
}
