package io.filterd.daemon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.filterd.daemon.control.OperationException;
import io.filterd.keys.KeyException;
import io.filterd.keys.KeyProviders;
import io.filterd.nbd.Listener;
import io.filterd.nbd.NbdServerConfig;
import io.filterd.nbd.Tls;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Objects;
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
  void readsListenersAndTheirLimits() throws Exception {
    Path file =
        Files.writeString(
            folder.resolve("a.yaml"),
            """
            version: 1
            nbd:
              transport: io_uring
              maxOptions: 64
              listen:
                - {tcp: "[::1]:10809", maxConnections: 7, idleTimeout: 5m}
                - {unix: nbd.sock, mode: "0660", group: "36"}
                - {unix: "@filterd"}
                - {systemd: nbd, maxBytesInFlight: 32MiB}
                - {systemd: true}
            """);
    NbdServerConfig nbd = DaemonConfig.load(file).nbd();

    assertThat(nbd.transport()).isEqualTo(NbdServerConfig.Transport.IO_URING);
    assertThat(nbd.listen())
        .extracting(Listener::place)
        .containsExactly(
            new Listener.Tcp(new InetSocketAddress(InetAddress.ofLiteral("::1"), 10809)),
            new Listener.Unix(
                folder.resolve("nbd.sock"),
                PosixFilePermissions.fromString("rw-rw----"),
                null,
                "36"),
            new Listener.AbstractUnix("filterd"),
            new Listener.Systemd("nbd"),
            new Listener.Systemd(""));
    assertThat(nbd.listen())
        .extracting(Listener::limits)
        .containsExactly(
            new Listener.Limits(
                7, Duration.ofSeconds(10), Duration.ofMinutes(5), 64, 128, 64 << 20),
            null,
            null,
            new Listener.Limits(1024, Duration.ofSeconds(10), Duration.ZERO, 64, 128, 32 << 20),
            null);
  }

  @Test
  void tellsWhatIsWrongWithAListener() throws Exception {
    Path file =
        Files.writeString(
            folder.resolve("bad.yaml"),
            """
            version: 1
            nbd:
              transport: uring
              listen:
                - {tcp: "127.0.0.1:10809", unix: nbd.sock}
                - {tcp: "127.0.0.1:10809", mode: "0600"}
                - {unix: "@"}
                - {systemd: true, maxConnections: 0, maxBytesInFlight: 1MiB}
            """);

    OperationException failure =
        catchThrowableOfType(OperationException.class, () -> DaemonConfig.load(file));

    assertThat(failure.details()).hasSize(6);
  }

  @Test
  void knowsHowToDoTls() throws Exception {
    Path file = folder.resolve("tls.yaml");
    Files.writeString(
        file, "version: 1\nnbd: {tls: {certificate: a.pem, key: b.pem, clientCa: c.pem}}\n");
    assertThat(DaemonConfig.load(file).nbd().tls())
        .isEqualTo(
            new Tls(
                Tls.Mode.REQUIRE,
                new Tls.Certificates(
                    folder.resolve("a.pem"), folder.resolve("b.pem"), folder.resolve("c.pem"))));
    Files.writeString(file, "version: 1\nnbd: {tls: {mode: on, psk: keys.psk}}\n");
    assertThat(DaemonConfig.load(file).nbd().tls())
        .isEqualTo(new Tls(Tls.Mode.ON, new Tls.PreSharedKeys(folder.resolve("keys.psk"))));

    Files.writeString(file, "version: 1\nnbd: {tls: {certificate: a.pem, psk: keys.psk}}\n");
    OperationException failure =
        catchThrowableOfType(OperationException.class, () -> DaemonConfig.load(file));
    assertThat(failure.details())
        .hasSize(2)
        .anyMatch(detail -> detail.contains("expected: one of them"))
        .anyMatch(detail -> detail.contains("key: is missing"));
  }

  @Test
  void letsListenersDoTlsInTheirOwnWay() throws Exception {
    Path file = folder.resolve("tls.yaml");
    Files.writeString(
        file,
        """
        version: 1
        nbd:
          tls: {mode: require, psk: keys.psk}
          listen: [{tcp: "127.0.0.1:1"}, {tcp: "127.0.0.1:2", tls: on}, {unix: s, tls: off}]
        """);
    assertThat(DaemonConfig.load(file).nbd().listen())
        .extracting(Listener::tlsMode)
        .containsExactly(null, Tls.Mode.ON, Tls.Mode.OFF);

    Files.writeString(
        file, "version: 1\nnbd: {listen: [{unix: s, tls: on}, {unix: t, tls: of}]}\n");
    OperationException failure =
        catchThrowableOfType(OperationException.class, () -> DaemonConfig.load(file));
    assertThat(failure.details())
        .hasSize(2)
        .anyMatch(detail -> detail.contains("listen[0].tls: on (expected: off, or certificates"));
  }

  @Test
  void readsWhoMayUseWhat() throws Exception {
    Path file =
        Files.writeString(
            folder.resolve("access.yaml"),
            """
            version: 1
            nbd:
              access:
                - {tlsSubject: "CN=host1, O=Acme", exports: [vm1/*], allow: read-write}
                - {pskIdentity: back*, allow: read-only}
                - {unixUser: root, allow: read-write}
                - {unixUser: 1000, exports: [vm2/disk?, vm3/*], allow: none}
                - {anyone: true, exports: ["public/*"], allow: read-only}
            """);

    AccessRules access = DaemonConfig.load(file).access();

    assertThat(access)
        .isEqualTo(
            new AccessRules(
                file,
                List.of(
                    new AccessRule(
                        new AccessRule.TlsSubject("CN=host1,O=Acme"),
                        List.of("vm1/*"),
                        AccessRule.Allow.READ_WRITE),
                    new AccessRule(
                        new AccessRule.PskIdentity("back*"),
                        List.of("*"),
                        AccessRule.Allow.READ_ONLY),
                    new AccessRule(
                        new AccessRule.UnixUser(0), List.of("*"), AccessRule.Allow.READ_WRITE),
                    new AccessRule(
                        new AccessRule.UnixUser(1000),
                        List.of("vm2/disk?", "vm3/*"),
                        AccessRule.Allow.NONE),
                    new AccessRule(
                        new AccessRule.Anyone(),
                        List.of("public/*"),
                        AccessRule.Allow.READ_ONLY))));
  }

  @Test
  void tellsAllThatIsWrongWithWhoMayUseWhat() throws Exception {
    Path file =
        Files.writeString(
            folder.resolve("access.yaml"),
            """
            version: 1
            nbd:
              access:
                - {allow: read-only}
                - {anyone: true, unixUser: root, allow: none}
                - {tlsSubject: host1, allow: read-write}
                - {unixUser: nobody-of-this-name, allow: read-write}
                - {unixUser: 4294967296, allow: read-write}
                - {anyone: false, exports: vm1, allow: writing}
                - {anyone: true, exports: [[a]], user: 1}
            """);

    OperationException failure =
        catchThrowableOfType(OperationException.class, () -> DaemonConfig.load(file));

    assertThat(failure.details())
        .hasSize(11)
        .anyMatch(detail -> detail.contains(":4: ") && detail.contains("nbd.access[0]"))
        .anyMatch(detail -> detail.contains("expected: a user of /etc/passwd"));
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
  void readsKmipProviders() throws Exception {
    Path file =
        Files.writeString(
            folder.resolve("a.yaml"),
            """
            version: 1
            state: state
            keys:
              providers:
                kms: {type: kmip, servers: [kms-a, "[::1]:5697"], serverCaFile: ca.pem, readBack: 1}
            """);

    DaemonConfig.Keys keys = DaemonConfig.load(file).keys();

    assertThat(keys.defaultProvider()).isEqualTo("kms");
    DaemonConfig.Provider kms = keys.providers().get("kms");
    assertThat(kms)
        .isEqualTo(
            new DaemonConfig.Provider(
                "kmip",
                Map.of(
                    "servers",
                    "kms-a [::1]:5697",
                    "folder",
                    folder.resolve("state/kms.kmip").toString(),
                    "serverCaFile",
                    folder.resolve("state/ca.pem").toString(),
                    "readBack",
                    "1")));
  }

  @Test
  void theSampleOfAKmipProviderHoldsEverySettingThatItTakes() throws Exception {
    String sample = Files.readString(RunningFilterd.HOME.resolve("conf/filterd.yaml"));
    String section = sample.substring(sample.indexOf("    # kms:"), sample.indexOf("\ncrypto:"));
    // Those without a default are commented out once more.
    String uncommented =
        section
            .replaceAll("(?m)^    # ", "    ")
            .replaceAll("(?m)^      # ([a-z]+[A-Z]?[A-Za-z]*: [^ ]+)", "      $1");
    Path file =
        Files.writeString(
            folder.resolve("a.yaml"), "version: 1\nstate: .\nkeys:\n  providers:\n" + uncommented);

    DaemonConfig.Provider kms =
        Objects.requireNonNull(DaemonConfig.load(file).keys().providers().get("kms"));

    assertThat(kms.settings())
        .containsKeys("servers", "folder", "serverCaFile", "cipherSuites", "user", "passwordFile")
        .hasSize(15);
    assertThat(
            catchThrowableOfType(
                KeyException.class, () -> KeyProviders.open(kms.type(), "kms", kms.settings())))
        .hasMessageContaining("has no certificate to show its servers");
  }

  @Test
  void aProviderOfUnknownTypeSaysWhichThereAre() {
    assertThat(KeyProviders.inspect("kimp", "kms", Map.of()).details().getFirst())
        .isEqualTo(
            "key provider kms: type \"kimp\" (expected: one of kmip, native, pkcs11, scripted)");
  }

  @Test
  void saysThatThereIsNoFile() {
    OperationException failure =
        catchThrowableOfType(
            OperationException.class, () -> DaemonConfig.load(folder.resolve("none.yaml")));

    assertThat(failure).hasMessageContaining("none.yaml");
  }
}
