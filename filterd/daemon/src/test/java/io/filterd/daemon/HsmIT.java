package io.filterd.daemon;

import static io.filterd.daemon.RunningFilterd.tool;
import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A disk whose key is in an HSM: SoftHSM2 (Debian's softhsm2 and opensc). */
class HsmIT {
  private static final String MODULE = "/usr/lib/softhsm/libsofthsm2.so";
  private static final String PIN = "482915";
  private static final String DISK = "vm1/disk0";

  @TempDir Path folder;
  private List<String> withTokens;

  @BeforeEach
  void makeToken() throws IOException {
    Path tokens = Files.createDirectory(folder.resolve("tokens"));
    Path configuration = folder.resolve("softhsm2.conf");
    Files.writeString(configuration, "directories.tokendir = " + tokens + "\n");
    withTokens = List.of("env", "SOFTHSM2_CONF=" + configuration);
    withTokens(
        "softhsm2-util",
        "--init-token",
        "--free",
        "--label",
        "filterd",
        "--so-pin",
        "87654321",
        "--pin",
        PIN);
    Path pin = Files.writeString(folder.resolve("hsm.pin"), PIN + "\n");
    Files.setPosixFilePermissions(pin, PosixFilePermissions.fromString("rw-------"));
    Files.writeString(
        folder.resolve(RunningFilterd.KEYS),
        "{providers: {hsm: {type: pkcs11, module: %s, tokenLabel: filterd, pinFile: hsm.pin}}}"
            .formatted(MODULE));
  }

  private String withTokens(String... command) throws IOException {
    List<String> all = new ArrayList<>(withTokens);
    all.addAll(List.of(command));
    return tool(all.toArray(String[]::new));
  }

  @Test
  void aDiskUnlocksAfterAKillAndNotWithoutItsKey() throws IOException {
    RunningFilterd running = RunningFilterd.start(folder, withTokens);
    assertThat(running.filterd("provider", "status"))
        .contains("hsm", "pkcs11", "locked", "when a key is needed");
    running.filterd("disk", "create", DISK, "--size", "16MiB", "--policy", "encrypted");
    running.filterd("disk", "attach", DISK);
    tool("qemu-io", "-f", "raw", "-c", "write -P 0x5a 1M 64k", "-c", "flush", running.uri(DISK));
    assertThat(running.filterd("provider", "status")).contains("ready", "Logged in to the token");
    assertThat(running.filterd("disk", "info", DISK)).contains("provider hsm");

    running.kill();
    running = RunningFilterd.start(folder, withTokens);
    assertThat(tool("qemu-io", "-f", "raw", "-r", "-c", "read -P 0x5a 1M 64k", running.uri(DISK)))
        .doesNotContain("failed");

    running.filterd("disk", "detach", DISK);
    withTokens(
        "pkcs11-tool",
        "--module",
        MODULE,
        "--token-label",
        "filterd",
        "--login",
        "--pin",
        PIN,
        "--delete-object",
        "--type",
        "secrkey",
        "--label",
        "filterd vm vm1");
    RunningFilterd.Result refused = RunningFilterd.filterd(folder, "disk", "attach", DISK);
    assertThat(refused.exitCode()).isNotZero();
    assertThat(refused.output()).contains("there is no key");
    assertThat(RunningFilterd.filterd(folder, "provider", "init").output())
        .contains("type pkcs11 (expected: native");
    running.close();
  }
}
