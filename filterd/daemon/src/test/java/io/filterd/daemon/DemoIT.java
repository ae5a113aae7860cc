package io.filterd.daemon;

import static io.filterd.daemon.RunningFilterd.tool;
import static java.nio.charset.StandardCharsets.US_ASCII;
import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What the demo prints is pasted, as it is printed, and does what it says. */
class DemoIT {
  @TempDir Path folder;

  private Process start(String... options) throws Exception {
    String[] command = {RunningFilterd.HOME.resolve("filterd/bin/filterd").toString(), "demo"};
    String[] all = Arrays.copyOf(command, command.length + options.length);
    System.arraycopy(options, 0, all, command.length, options.length);
    Process demo =
        new ProcessBuilder(all).redirectErrorStream(true).redirectOutput(log().toFile()).start();
    Awaitility.await()
        .atMost(Duration.ofSeconds(60))
        .until(() -> !demo.isAlive() || Files.readString(log()).contains("Ctrl-C ends it"));
    assertThat(demo.isAlive()).as("%s", Files.readString(log())).isTrue();
    return demo;
  }

  private Path log() {
    return folder.resolve("demo.log");
  }

  /** The printed line that starts so. */
  private String printed(String start) throws Exception {
    return Files.readAllLines(log()).stream()
        .map(String::strip)
        .filter(line -> line.startsWith(start))
        .findFirst()
        .orElseThrow(() -> new AssertionError("the demo printed no line with " + start));
  }

  private String paste(String line) throws Exception {
    return tool("bash", "-c", "set -o pipefail; cd " + folder + " && " + line);
  }

  private void stop(Process demo) throws Exception {
    String last = printed("Ctrl-C ends it");
    demo.destroy();
    assertThat(demo.onExit().orTimeout(60, TimeUnit.SECONDS).join().isAlive()).isFalse();
    String made = last.substring(last.lastIndexOf(' ') + 1, last.length() - 1);
    assertThat(Path.of(made)).doesNotExist();
  }

  @Test
  void itsCommandsDoWhatTheySay() throws Exception {
    Process demo = start("--port", Integer.toString(RunningFilterd.freePort()));
    try {
      assertThat(paste(printed("nbdinfo nbd:"))).contains("export-size: 1073741824");
      assertThat(paste(printed("nbdinfo --map"))).contains("hole,zero");
      assertThat(paste(printed("qemu-img info"))).contains("1 GiB");
      paste(printed("qemu-io"));
      paste(printed("nbdcopy"));
      paste(printed("cp --sparse"));
      paste(printed("qemu-img convert -f vmdk"));

      byte[] plaintext = "aaaaaaaaaaaaaaaa".getBytes(US_ASCII);
      for (String file : List.of("copy.raw", "stored.raw")) {
        try (var in = Files.newInputStream(folder.resolve(file))) {
          byte[] head = in.readNBytes(1 << 20);
          // The first MiB is what qemu-io wrote: in the clear by NBD, ciphertext in the file.
          boolean clear = Arrays.equals(Arrays.copyOf(head, plaintext.length), plaintext);
          assertThat(clear).as(file).isEqualTo(file.equals("copy.raw"));
          assertThat(Arrays.equals(head, new byte[head.length])).as(file).isFalse();
        }
      }
    } finally {
      stop(demo);
    }
  }

  @Test
  void importsADiskAndLeavesItAlone() throws Exception {
    Path own = folder.resolve("own.vmdk");
    tool("qemu-img", "create", "-f", "vmdk", own.toString(), "32M");
    tool("qemu-io", "-f", "vmdk", "-c", "write -P 0x42 3M 5M", own.toString());
    byte[] before = Files.readAllBytes(own);
    int port = RunningFilterd.freePort();
    Process demo = start("--import", own.toString(), "--port", Integer.toString(port));
    try {
      tool(
          "qemu-img",
          "compare",
          "-f",
          "vmdk",
          "-F",
          "raw",
          own.toString(),
          "nbd://127.0.0.1:" + port + "/vm1/disk0");
      assertThat(Files.readAllBytes(own)).isEqualTo(before);
    } finally {
      stop(demo);
    }
  }
}
