package io.filterd.daemon;

import static io.filterd.daemon.RunningFilterd.tool;
import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The Linux kernel's own client, in a guest under software emulation. */
class KernelClientIT {
  @TempDir Path folder;

  @Test
  void aGuestKeepsItsFilesOnAnEncryptedDisk() throws Exception {
    RunningFilterd.configure(folder, 0);
    assertThat(RunningFilterd.filterd(folder, "provider", "init").exitCode()).isZero();
    try (RunningFilterd running = RunningFilterd.start(folder)) {
      running.filterd("disk", "create", "vm1/disk0", "--size", "512MiB", "--policy", "encrypted");
      running.filterd("disk", "attach", "vm1/disk0");

      String console =
          tool(
              RunningFilterd.HOME
                  .resolve("nbd-server/src/test/scripts/kernel-client.sh")
                  .toString(),
              Integer.toString(running.port()),
              "vm1/disk0",
              "4");

      assertThat(console).contains("GUEST-OK 20 files", "bytes trimmed");
    }
  }
}
