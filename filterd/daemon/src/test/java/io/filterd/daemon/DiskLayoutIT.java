package io.filterd.daemon;

import static io.filterd.daemon.RunningFilterd.tool;
import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.vmdk.Layout;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Encrypted disks of every layout, served by the real daemon. */
class DiskLayoutIT {
  private static final String DISK = "vm1/disk0";

  @TempDir Path folder;

  @BeforeEach
  void makeProvider() throws IOException {
    RunningFilterd.configure(folder, 0);
    assertThat(RunningFilterd.filterd(folder, "provider", "init").exitCode()).isZero();
  }

  private static void create(RunningFilterd running, String size, String layout)
      throws IOException {
    running.filterd(
        "disk", "create", DISK, "--size", size, "--policy", "encrypted", "--layout", layout);
  }

  private List<Path> files() throws IOException {
    try (Stream<Path> files = Files.list(folder.resolve("disks/vm1"))) {
      return files.sorted().toList();
    }
  }

  private static void qemuIo(String uri, String... commands) throws IOException {
    String[] all = new String[commands.length * 2 + 4];
    all[0] = "qemu-io";
    all[1] = "-f";
    all[2] = "raw";
    for (int i = 0; i < commands.length; i++) {
      all[3 + 2 * i] = "-c";
      all[4 + 2 * i] = commands[i];
    }
    all[all.length - 1] = uri;
    assertThat(tool(all)).doesNotContain("failed", "error");
  }

  @ParameterizedTest
  @EnumSource
  void keepsWhatClientsWrite(Layout layout) throws IOException {
    try (RunningFilterd running = RunningFilterd.start(folder)) {
      create(running, "24MiB", layout.createType());
      running.filterd("disk", "attach", DISK);
      String[] reads = {
        "read -P 0x41 1M 3M", "read -P 0 4M 1M", "read -P 0x42 5M 64k", "read -P 0 23M 1M"
      };
      qemuIo(
          running.uri(DISK),
          "write -P 0x41 1M 3M",
          "write -P 0x42 3584k 2M",
          "write -P 0x41 3584k 512k",
          "write -z 4M 1M",
          "discard 23M 1M",
          "flush");
      qemuIo(running.uri(DISK), reads);
      running.filterd("disk", "detach", DISK);

      for (Path file : files()) {
        String stored = Files.readString(file, StandardCharsets.ISO_8859_1);
        assertThat(stored).doesNotContain("A".repeat(32)).doesNotContain("B".repeat(32));
      }
      Path disk = folder.resolve("disks/vm1/disk0.vmdk");
      assertThat(tool("qemu-img", "check", "-f", "vmdk", disk.toString())).contains("No errors");

      running.filterd("disk", "attach", DISK);
      qemuIo(running.uri(DISK), reads);
      assertThat(running.filterd("disk", "info", DISK, "--json"))
          .contains("\"format\" : \"" + layout.createType() + "\"");
    }
    try (RunningFilterd again = RunningFilterd.start(folder)) {
      qemuIo(again.uri(DISK), "read -P 0x41 1M 3M", "read -P 0x42 5M 64k");
    }
  }

  @Test
  void servesMoreThanTwoTebibytes() throws IOException {
    try (RunningFilterd running = RunningFilterd.start(folder)) {
      RunningFilterd.Result refused =
          RunningFilterd.filterd(
              folder, "disk", "create", DISK, "--size", "2049GiB", "--policy", "encrypted");
      assertThat(refused.exitCode()).isNotZero();
      assertThat(refused.output()).contains("another layout");

      create(running, "2049GiB", "twoGbMaxExtentSparse");
      running.filterd("disk", "attach", DISK);
      qemuIo(
          running.uri(DISK),
          "write -P 0x41 2048G 1M",
          "write -P 0x42 2146433024 4k",
          "flush",
          "read -P 0x41 2048G 1M",
          "read -P 0x42 2146433024 4k");
      running.filterd("disk", "detach", DISK);
    }
  }

  @Test
  void refusesALayoutThatNobodyKnows() throws IOException {
    try (RunningFilterd running = RunningFilterd.start(folder)) {
      RunningFilterd.Result refused =
          RunningFilterd.filterd(
              folder,
              "disk",
              "create",
              DISK,
              "--size",
              "1MiB",
              "--policy",
              "encrypted",
              "--layout",
              "twoGb");
      assertThat(refused.exitCode()).isNotZero();
      assertThat(refused.output())
          .contains("layout: twoGb (expected: monolithicSparse, monolithicFlat, ");
      assertThat(running.filterd("disk", "list")).contains("No disks");
    }
  }
}
