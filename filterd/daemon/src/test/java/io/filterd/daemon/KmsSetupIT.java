package io.filterd.daemon;

import static io.filterd.daemon.RunningFilterd.tool;
import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.kmip.server.PyKmipServer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Arrays;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The steps of README's "Use your KMS", and what follows: renewal, and certificates that fail. */
class KmsSetupIT {
  private static final String DISK = "vm1/disk0";
  private static final Pattern SHA_256 = Pattern.compile("SHA-256 ([0-9A-F:]{95})");

  @TempDir Path folder;
  private final PyKmipServer kms;

  KmsSetupIT(@TempDir Path server) {
    kms = PyKmipServer.start(server.resolve("kms"));
  }

  @BeforeEach
  void configures() throws IOException {
    Files.writeString(
        folder.resolve(RunningFilterd.KEYS),
        "{default: native, providers: {native: {type: native, backup: waived}, kms: {type: kmip, servers: [\"%s:%d\"]}}}"
            .formatted(kms.host(), kms.port()));
    Path policies = Files.createDirectory(folder.resolve("policies"));
    Files.writeString(
        policies.resolve("kms.yaml"),
        """
        version: 1
        name: kms
        description: Keys in the KMS.
        encryption: {cipher: aes-256-xts, unit: 4KiB, kek: per-vm, provider: kms}
        """);
  }

  @AfterEach
  void ends() {
    kms.close();
  }

  private RunningFilterd.Result fails(int exitCode, String... command) throws IOException {
    RunningFilterd.Result result = RunningFilterd.filterd(folder, command);
    assertThat(result.exitCode()).as(result.output()).isEqualTo(exitCode);
    return result;
  }

  private String request(RunningFilterd running, String subject) throws IOException {
    String request = running.filterd("provider", "certificate", "request", subject, "kms");
    assertThat(request).contains("-----BEGIN CERTIFICATE REQUEST-----", "accept FILE kms");
    return kms.sign(folder.resolve("kms.kmip/next.csr")).toString();
  }

  private String inUse() throws IOException {
    return tool(
            "openssl",
            "x509",
            "-in",
            folder.resolve("kms.kmip/identity.pem").toString(),
            "-noout",
            "-fingerprint",
            "-sha256")
        .replaceAll("(?s).*=(\\S+)\\s*", "$1");
  }

  @Test
  void isSetUpRenewedAndNeverLedAstray() throws IOException {
    try (RunningFilterd running = RunningFilterd.start(folder)) {
      assertThat(running.filterd("provider", "status"))
          .contains("provider certificate request kms");
      assertThat(fails(2, "provider", "certificate", "request", "kms").output())
          .contains("subject: none (expected: such as CN=filterd,O=Example)");
      assertThat(fails(5, "provider", "certificate", "show", "native").output())
          .contains("type native (expected: kmip");

      String first = request(running, "--subject=CN=filterd,O=Example");
      assertThat(running.filterd("provider", "certificate", "accept", first, "kms"))
          .contains("In use now by key provider kms", "CN=filterd,O=Example");
      assertThat(running.filterd("provider", "status", "--probe"))
          .contains("trusts no server yet", "filterd provider trust kms");
      trusts(running);
      String status = running.filterd("provider", "status", "--probe");
      assertThat(status)
          .contains("green, both sides trust each other, KMIP", "its certificate ends at")
          .contains("The client's certificate (CN=filterd,O=Example) ends at");

      running.filterd("disk", "create", DISK, "--size", "16MiB", "--policy", "kms");
      running.filterd("disk", "attach", DISK);
      tool("qemu-io", "-f", "raw", "-c", "write -P 0x5a 1M 64k", "-c", "flush", running.uri(DISK));

      refusesWhatCannotReadTheKeys(running);
      renews(running);
      assertThat(tool("qemu-io", "-f", "raw", "-c", "read -P 0x5a 1M 64k", running.uri(DISK)))
          .doesNotContain("failed");
      running.kill();
    }
    try (RunningFilterd again = RunningFilterd.start(folder)) {
      assertThat(tool("qemu-io", "-f", "raw", "-c", "read -P 0x5a 1M 64k", again.uri(DISK)))
          .doesNotContain("failed");
      assertThat(again.filterd("key", "status")).contains("available");
    }
  }

  /** Scripts name the fingerprint; without it somebody must type yes. */
  private void trusts(RunningFilterd running) throws IOException {
    String shown = running.filterd("provider", "certificate", "show", "kms");
    Matcher fingerprint = SHA_256.matcher(shown);
    assertThat(fingerprint.find()).as(shown).isTrue();
    assertThat(shown).contains("none", "CN=kms.test");
    // Nobody is there to answer: nothing is trusted.
    assertThat(fails(9, "provider", "trust", "kms").output()).contains("nobody typed yes");
    assertThat(fails(5, "provider", "trust", "kms", "--yes-fingerprint", "ab".repeat(32)).output())
        .contains("no server shows a certificate with the fingerprint AB:AB", "shows ");
    assertThat(fails(2, "provider", "trust", "kms", "--yes-fingerprint", "ab").output())
        .contains("fingerprint: 'ab'");
    Path trusted = folder.resolve("kms.kmip/trusted-servers");
    assertThat(trusted).doesNotExist();
    assertThat(
            running.filterd("provider", "trust", "kms", "--yes-fingerprint", fingerprint.group(1)))
        .contains("pinned");
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(trusted)))
        .isEqualTo("rw-------");
  }

  private void refusesWhatCannotReadTheKeys(RunningFilterd running) throws IOException {
    String inUse = inUse();
    String key = kms.key("other").toString();
    String certificate = kms.certificate("other").toString();
    String[] upload = {
      "provider", "certificate", "upload", "--key", key, "--certificate", certificate, "kms"
    };
    assertThat(fails(2, upload).output()).contains("subject", "servers know the owner of keys");
    String[] anyway = Arrays.copyOf(upload, upload.length + 1);
    anyway[upload.length] = "--allow-other-subject";
    assertThat(running.filterd(anyway)).contains("not in use yet");
    assertThat(fails(5, "provider", "certificate", "switch", "kms").output())
        .contains("the next certificate is not proven, and the one in use stays");
    assertThat(inUse()).isEqualTo(inUse);
    assertThat(running.filterd("provider", "status", "--probe")).contains("green");
  }

  private void renews(RunningFilterd running) throws IOException {
    String before = inUse();
    String next = request(running, "--subject=");
    assertThat(running.filterd("provider", "certificate", "accept", next, "kms"))
        .contains("not in use yet");
    assertThat(inUse()).isEqualTo(before);
    assertThat(running.filterd("provider", "certificate", "switch", "kms"))
        .contains("In use now by key provider kms; keys that it read: 1");
    assertThat(inUse()).isNotEqualTo(before);
    assertThat(fails(2, "provider", "certificate", "switch", "kms").output())
        .contains("no certificate waits");
    assertThat(running.filterd("key", "status")).contains("available");
  }

  @Test
  void helpsAtEveryLevel() throws IOException {
    assertThat(tool(RunningFilterd.LAUNCHER.toString(), "provider", "certificate", "accept", "-h"))
        .contains("--allow-other-subject", "Exit codes:");
    assertThat(tool(RunningFilterd.LAUNCHER.toString(), "generate-completion"))
        .contains("picocli_filterd_provider_certificate_switch", "provider_trust");
  }
}
