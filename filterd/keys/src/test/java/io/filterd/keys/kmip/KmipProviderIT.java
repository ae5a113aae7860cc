package io.filterd.keys.kmip;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.InstanceOfAssertFactories.type;

import io.filterd.keys.ExportingProvider;
import io.filterd.keys.KeyEncryptionKey;
import io.filterd.keys.KeyException;
import io.filterd.keys.KeyException.Reason;
import io.filterd.keys.KeyLabel;
import io.filterd.keys.KeyProviders;
import io.filterd.keys.KeyReference;
import io.filterd.keys.KeyState;
import io.filterd.keys.ProviderNeeds;
import io.filterd.keys.ProviderStatus;
import io.filterd.keys.ProviderStatus.Health;
import io.filterd.kmip.cert.IdentityFolder;
import io.filterd.kmip.server.PyKmipServer;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The KMIP provider with real servers: clusters that lose a server, freeze, or do not replicate.
 */
class KmipProviderIT {
  private static final KeyLabel LABEL = new KeyLabel(KeyLabel.Scope.VM, "vm1");

  @TempDir private Path folder;
  private final PyKmipServer first;

  KmipProviderIT(@TempDir Path server) {
    first = PyKmipServer.start(server.resolve("first"));
  }

  @BeforeEach
  void uploadsItsCertificate() throws IOException {
    IdentityFolder identity = new IdentityFolder(folder.resolve("identity"));
    identity.upload(
        first.key("filterd"), first.certificate("filterd"), IdentityFolder.Subject.SAME);
    identity.switchToNext(next -> {});
  }

  private ExportingProvider provider(Map<String, String> more, PyKmipServer... servers)
      throws KeyException {
    StringBuilder addresses = new StringBuilder();
    for (PyKmipServer server : servers) {
      addresses.append(server.host()).append(':').append(server.port()).append(' ');
    }
    Map<String, String> settings = new HashMap<>();
    settings.put("servers", addresses.toString());
    settings.put("folder", folder.resolve("identity").toString());
    settings.put("serverCaFile", first.authorities().toString());
    settings.putAll(more);
    return (ExportingProvider) KeyProviders.open("kmip", "kms", settings);
  }

  private static void assertFails(ThrowingCallable call, Reason reason, String... parts) {
    assertThatThrownBy(call)
        .asInstanceOf(type(KeyException.class))
        .satisfies(
            failure -> {
              assertThat(failure.reason()).as(failure.getMessage()).isEqualTo(reason);
              assertThat(failure).hasMessageContainingAll(parts);
            });
  }

  private static Health health(ProviderStatus status, PyKmipServer server) {
    return status.needs().servers().stream()
        .filter(each -> each.name().equals(server.host() + ":" + server.port()))
        .map(ProviderNeeds.Server::health)
        .findFirst()
        .orElseThrow();
  }

  @Test
  void makesKeysThatOutliveItAndEndsThem() throws KeyException {
    KeyReference made;
    byte[] secret = new byte[KeyEncryptionKey.LENGTH_BYTES];
    try (first) {
      try (ExportingProvider provider = provider(Map.of(), first)) {
        made = provider.create(LABEL);
        try (KeyEncryptionKey key = provider.open(made)) {
          key.copySecretTo(secret);
        }
      }
      try (ExportingProvider again = provider(Map.of(), first);
          KeyEncryptionKey key = again.open(made)) {
        byte[] same = new byte[KeyEncryptionKey.LENGTH_BYTES];
        key.copySecretTo(same);
        assertThat(same).isEqualTo(secret);
        assertThat(again.describe(made).state()).isEqualTo(KeyState.ACTIVE);
        assertThat(again.describe(made).created().orElseThrow())
            .isAfter(Instant.now().minus(Duration.ofMinutes(5)));
        assertThat(again.probe().state()).isEqualTo(ProviderStatus.State.READY);

        again.revoke(made);
        again.revoke(made); // Once more is no failure.
        assertThat(again.describe(made).state()).isEqualTo(KeyState.DEACTIVATED);
        again.open(made).close();
        again.destroy(made);
        assertFails(() -> again.open(made), Reason.NOT_FOUND, "key " + made.keyId());
        assertFails(() -> again.describe(made), Reason.NOT_FOUND, "state of key " + made.keyId());
      }
    }
  }

  @Test
  void losesNothingWithOneOfTwoServers() throws KeyException {
    try (first;
        PyKmipServer second = first.startReplica(folder.resolve("second"));
        ExportingProvider provider =
            provider(Map.of("handshakeTimeout", "2s", "answerTimeout", "2s"), first, second)) {
      KeyReference made = provider.create(LABEL);

      first.kill();
      provider.open(made).close();
      assertThat(health(provider.status(), first)).isEqualTo(Health.RED);
      assertThat(health(provider.status(), second)).isEqualTo(Health.GREEN);
      assertThat(provider.status().state()).isEqualTo(ProviderStatus.State.DEGRADED);
      assertFails(
          () -> provider.create(LABEL),
          Reason.UNAVAILABLE,
          "is on 1 of 2 servers (readBack: 2), so it is not used");

      first.restart();
      assertThat(provider.probe().state()).isEqualTo(ProviderStatus.State.READY);
      provider.create(LABEL);

      second.freeze();
      long start = System.nanoTime();
      provider.open(made).close();
      provider.open(made).close();
      assertThat(Duration.ofNanos(System.nanoTime() - start))
          .isLessThan(Duration.ofSeconds(2 + 2 + 5));
      second.thaw();

      first.kill();
      second.kill();
      assertFails(() -> provider.open(made), Reason.UNAVAILABLE, first.host(), second.host());
      assertThat(provider.status().state()).isEqualTo(ProviderStatus.State.UNAVAILABLE);
    }
  }

  @Test
  void noticesServersThatDoNotReplicate() throws KeyException {
    try (first;
        PyKmipServer stranger = first.startStranger(folder.resolve("stranger"));
        ExportingProvider provider = provider(Map.of("readBack", "1"), first, stranger);
        ExportingProvider strict = provider(Map.of(), first, stranger)) {
      KeyReference made = provider.create(LABEL);
      try (ExportingProvider elsewhere = provider(Map.of(), stranger)) {
        assertThat(elsewhere.create(LABEL).keyId()).isEqualTo(made.keyId());
      }

      first.kill();
      assertFails(
          () -> provider.open(made), Reason.UNAVAILABLE, "this is another key of the same name");
      assertThat(health(provider.status(), stranger)).isEqualTo(Health.RED);
      assertThat(provider.status().details().toString()).contains("does not replicate");
      first.restart();
      assertThat(provider.probe().health()).isEqualTo(Health.YELLOW);
      provider.open(made).close();

      try (ExportingProvider elsewhere = provider(Map.of(), stranger)) {
        elsewhere.create(LABEL); // So that the next id is taken there, too.
      }
      assertFails(
          () -> strict.create(LABEL),
          Reason.WRONG_KEY,
          "is on 1 of 2 servers (readBack: 2), so it is not used",
          "this is another key of the same name");
    }
  }

  @Test
  void saysWhatIsMissing() throws KeyException {
    try (first) {
      assertFails(
          () -> provider(Map.of("folder", folder.resolve("empty").toString()), first),
          Reason.DENIED,
          "key provider kms has no certificate to show its servers");
      assertFails(
          () -> provider(Map.of("serverCaFile", ""), first),
          Reason.DENIED,
          "key provider kms trusts no server yet");
      assertFails(
          () -> provider(Map.of("server", "x"), first),
          Reason.PROTOCOL,
          "key provider kms: setting server: unknown (expected: one of answerTimeout,");
      try (ExportingProvider provider = provider(Map.of(), first)) {
        assertFails(
            () -> provider.open(new KeyReference("kms", "4711", "0000000000000000")),
            Reason.NOT_FOUND,
            "key provider kms, key 4711: KMS " + first.host());
      }
    }
  }

  @Test
  void trustsAServerByItsFingerprint() throws Exception {
    try (first) {
      Path trusted = Objects.requireNonNull(folder.resolve("identity/" + KmipSettings.TRUSTED));
      java.nio.file.Files.writeString(trusted, "# nobody\n" + "00".repeat(32) + " a comment\n");
      try (ExportingProvider wrong = provider(Map.of("serverCaFile", ""), first)) {
        assertFails(() -> wrong.create(LABEL), Reason.DENIED, "certificate");
        assertThat(wrong.probe().state()).isEqualTo(ProviderStatus.State.UNAVAILABLE);
      }
      io.filterd.kmip.cert.Fingerprint actual =
          io.filterd.kmip.cert.Fingerprint.of(
              io.filterd.kmip.cert.Certificates.read(
                      first.authorities().resolveSibling("server.crt"))
                  .getFirst());
      java.nio.file.Files.writeString(trusted, actual + "\n");
      try (ExportingProvider provider = provider(Map.of("serverCaFile", ""), first)) {
        provider.open(provider.create(LABEL)).close();
      }
    }
  }
}
