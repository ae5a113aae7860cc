package io.filterd.kmip.client;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.filterd.kmip.Attribute;
import io.filterd.kmip.CryptographicAlgorithm;
import io.filterd.kmip.KeyWrapping;
import io.filterd.kmip.KmipVersion;
import io.filterd.kmip.Operation;
import io.filterd.kmip.ResultReason;
import io.filterd.kmip.RevocationReasonCode;
import io.filterd.kmip.State;
import io.filterd.kmip.UsageMask;
import io.filterd.kmip.cert.Certificates;
import io.filterd.kmip.cert.ClientIdentity;
import io.filterd.kmip.cert.IdentityFolder;
import io.filterd.kmip.cert.IdentityFolder.Subject;
import io.filterd.kmip.client.KmsException.Reason;
import io.filterd.kmip.net.ConnectionPool;
import io.filterd.kmip.net.PoolSettings;
import io.filterd.kmip.net.ServerAddress;
import io.filterd.kmip.net.ServerTrust;
import io.filterd.kmip.net.Timeouts;
import io.filterd.kmip.net.TlsSettings;
import io.filterd.kmip.server.PyKmipServer;
import io.filterd.kmip.ttlv.Tag;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.InvalidKeyException;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import javax.crypto.Cipher;
import javax.crypto.NoSuchPaddingException;
import javax.crypto.spec.SecretKeySpec;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The client with a real server. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class PyKmipClientIT {
  private static final Timeouts TIMEOUTS =
      new Timeouts(Duration.ofSeconds(10), Duration.ofSeconds(60), Duration.ofSeconds(60));

  @SuppressWarnings("NullAway.Init") // Set before the first test.
  private Path folder;

  @SuppressWarnings("NullAway.Init") // Started before the first test.
  private PyKmipServer server;

  @BeforeAll
  void start(@TempDir Path temporary) {
    folder = temporary;
    server = PyKmipServer.start(folder.resolve("a"));
  }

  @AfterAll
  void stop() {
    server.close();
  }

  private IdentityFolder identities(String client) throws IOException {
    IdentityFolder identities = new IdentityFolder(folder.resolve("identity-" + client));
    if (identities.current().isEmpty()) {
      identities.upload(server.key(client), server.certificate(client), Subject.SAME);
      identities.switchToNext(next -> {});
    }
    return identities;
  }

  private KmipClient client(PyKmipServer kms, ClientIdentity identity, VersionRange versions)
      throws IOException {
    return new KmipClient(
        new ConnectionPool(
            new ServerAddress(kms.host(), kms.port()),
            TlsSettings.of(new ServerTrust.SignedBy(kms.authorities()), identity),
            TIMEOUTS,
            PoolSettings.defaults()),
        versions,
        null);
  }

  private KmipClient client(PyKmipServer kms, String name) throws IOException {
    return client(kms, identities(name).current().orElseThrow(), VersionRange.defaults());
  }

  private static byte[] keyBytes(KmipClient client, String id) throws KmsException {
    try (FetchedKey key = client.get(id)) {
      return key.bytes().toArray(ValueLayout.JAVA_BYTE);
    }
  }

  private static KmsException failure(ThrowingCallable action) {
    return catchThrowableOfType(KmsException.class, action);
  }

  @ParameterizedTest
  @ValueSource(strings = {"1.0", "1.1", "1.2", "1.3", "1.4", "2.0"})
  void livesTheLifeOfAKeyInEachVersion(String spoken) throws IOException, KmsException {
    KmipVersion version =
        new KmipVersion(spoken.charAt(0) - '0', spoken.charAt(spoken.length() - 1) - '0');
    ClientIdentity identity = identities("filterd").current().orElseThrow();
    try (KmipClient client = client(server, identity, new VersionRange(version, version))) {
      assertThat(client.probe().vendor()).contains("PyKMIP");
      assertThat(client.version()).contains(version);
      KeySpec spec = KeySpec.aes256();
      Instant before = Instant.now().minusSeconds(2);
      String id = client.create(spec);
      assertThat(client.state(id).known()).isEqualTo(State.PRE_ACTIVE);
      client.activate(id);
      client.activate(id);
      assertThat(client.state(id).known()).isEqualTo(State.ACTIVE);

      byte[] key = keyBytes(client, id);
      assertThat(key).hasSize(32);
      assertThat(keyBytes(client, id)).isEqualTo(key);
      var attributes =
          client.attributes(
              id,
              List.of(
                  "Name",
                  "Cryptographic Algorithm",
                  "Cryptographic Length",
                  "Cryptographic Usage Mask",
                  "Initial Date"));
      assertThat(attributes.names()).containsExactly(spec.name());
      assertThat(attributes.algorithm().orElseThrow().known())
          .isEqualTo(CryptographicAlgorithm.AES);
      assertThat(attributes.lengthBits()).hasValue(256);
      assertThat(attributes.usageMask()).hasValue(UsageMask.ENCRYPT | UsageMask.DECRYPT);
      assertThat(attributes.date(Tag.INITIAL_DATE).orElseThrow()).isAfter(before);

      assertThat(client.find(spec.name())).contains(id);
      assertThat(client.find(KeySpec.aes256().name())).isEmpty();
      assertThat(client.locate(List.of(Attribute.name(spec.name())), 10)).containsExactly(id);

      assertThat(failure(() -> client.destroy(id)).reason()).isEqualTo(Reason.DENIED);
      client.deactivate(id, RevocationReasonCode.SUPERSEDED, "test");
      client.deactivate(id, RevocationReasonCode.SUPERSEDED, "test");
      assertThat(client.state(id).known()).isEqualTo(State.DEACTIVATED);
      assertThat(keyBytes(client, id)).isEqualTo(key);
      client.destroy(id);
      KmsException gone = failure(() -> client.get(id).close());
      assertThat(gone.reason()).isEqualTo(Reason.NOT_FOUND);
      assertThat(gone.is(ResultReason.ITEM_NOT_FOUND)).isTrue();
    }
  }

  @Test
  void agreesOnTheLatestVersion() throws IOException, KmsException {
    try (KmipClient client = client(server, "filterd")) {
      client.probe();
      assertThat(client.version()).contains(KmipVersion.V2_0);
    }
  }

  @Test
  void compromisesAKey() throws IOException, KmsException {
    try (KmipClient client = client(server, "filterd")) {
      String id = client.create(KeySpec.aes256());
      client.activate(id);
      client.compromise(id, Instant.now(), "test");
      assertThat(client.state(id).known()).isEqualTo(State.COMPROMISED);
      client.deactivate(id, RevocationReasonCode.SUPERSEDED, "test");
    }
  }

  @Test
  void fetchesAKeyThatTheServerWraps()
      throws IOException,
          KmsException,
          NoSuchAlgorithmException,
          NoSuchPaddingException,
          InvalidKeyException {
    try (KmipClient client = client(server, "filterd")) {
      String wrapper =
          client.create(KeySpec.aes256().withUsageMask(UsageMask.WRAP_KEY | UsageMask.UNWRAP_KEY));
      client.activate(wrapper);
      String id = client.create(KeySpec.aes256());
      Cipher unwrap = Cipher.getInstance("AES/KW/NoPadding");
      unwrap.init(Cipher.UNWRAP_MODE, new SecretKeySpec(keyBytes(client, wrapper), "AES"));
      try (FetchedKey wrapped = client.getWrapped(id, KeyWrapping.aesKeyWrap(wrapper))) {
        byte[] bytes = wrapped.bytes().toArray(ValueLayout.JAVA_BYTE);
        assertThat(bytes).hasSize(40);
        assertThat(unwrap.unwrap(bytes, "AES", Cipher.SECRET_KEY).getEncoded())
            .isEqualTo(keyBytes(client, id));
      }
    }
  }

  @Test
  void dealsWithWhatTheServerCannotDo() throws IOException, KmsException {
    ClientIdentity identity = identities("filterd").current().orElseThrow();
    try (KmipClient client =
        client(server, identity, new VersionRange(KmipVersion.V1_1, KmipVersion.V1_4))) {
      String id = client.create(KeySpec.aes256());
      assertThat(client.label(id, Attribute.custom("x-Product", "filterd"))).isFalse();
      assertThat(failure(() -> client.rekey(id)).reason()).isEqualTo(Reason.NOT_SUPPORTED);
      assertThat(failure(() -> client.allows(id, UsageMask.ENCRYPT)).reason())
          .isEqualTo(Reason.NOT_SUPPORTED);
      assertThat(client.unsupported())
          .containsExactlyInAnyOrder(Operation.ADD_ATTRIBUTE, Operation.REKEY, Operation.CHECK);
      assertThat(client.state(id).known()).isEqualTo(State.PRE_ACTIVE);
    }
  }

  @Test
  void keepsKeysFromOthersUnlessTheirPolicySaysSo() throws IOException, KmsException {
    ClientIdentity identity = identities("filterd").current().orElseThrow();
    try (KmipClient owner =
            client(server, identity, new VersionRange(KmipVersion.V1_1, KmipVersion.V1_4));
        KmipClient other = client(server, "other")) {
      String own = owner.create(KeySpec.aes256());
      assertThat(failure(() -> other.get(own).close()).reason()).isEqualTo(Reason.DENIED);
      String shared =
          owner.create(KeySpec.aes256().with(List.of(Attribute.operationPolicyName("shared"))));
      assertThat(keyBytes(other, shared)).isEqualTo(keyBytes(owner, shared));
      assertThat(failure(() -> other.activate(shared)).reason()).isEqualTo(Reason.DENIED);
    }
  }

  @Test
  void saysThatTheServerRefusesACertificateWithoutItsUse() throws IOException {
    IdentityFolder identities = new IdentityFolder(folder.resolve("noeku"));
    assertThat(identities.upload(server.key("noeku"), server.certificate("noeku"), Subject.SAME))
        .singleElement()
        .asString()
        .contains("no extended key usage");
    ClientIdentity identity = identities.switchToNext(next -> {});
    try (KmipClient client = client(server, identity, VersionRange.defaults())) {
      assertThat(failure(client::probe).reason()).isEqualTo(Reason.NOT_TRUSTED);
    }
  }

  @Test
  void readsFromAReplicaAndGetsAnotherKeyFromAStranger() throws IOException, KmsException {
    try (PyKmipServer replica = server.startReplica(folder.resolve("b"));
        PyKmipServer stranger = server.startStranger(folder.resolve("c"));
        KmipClient first = client(server, "filterd");
        KmipClient second = client(replica, "filterd");
        KmipClient third = client(stranger, "filterd")) {
      String id = first.create(KeySpec.aes256());
      byte[] key = keyBytes(first, id);
      second.activate(id);
      assertThat(first.state(id).known()).isEqualTo(State.ACTIVE);
      assertThat(keyBytes(second, id)).isEqualTo(key);
      // Why keys need a check value: ids are numbers, and this server counts by itself.
      String last = third.create(KeySpec.aes256());
      while (!last.equals(id)) {
        last = third.create(KeySpec.aes256());
      }
      assertThat(keyBytes(third, id)).hasSize(32).isNotEqualTo(key);
    }
  }

  @Test
  void provesThatARenewedCertificateReadsAnOldKey() throws IOException, KmsException {
    IdentityFolder identities = identities("other");
    String id;
    byte[] key;
    try (KmipClient client = client(server, "other")) {
      id = client.create(KeySpec.aes256());
      key = keyBytes(client, id);
    }
    // Another owner's certificate is good for nothing here, and is not switched to.
    identities.upload(server.key("filterd"), server.certificate("filterd"), Subject.MAY_CHANGE);
    IOException refused =
        catchThrowableOfType(IOException.class, () -> identities.switchToNext(reads(id, key)));
    assertThat(refused).hasMessageContaining("PERMISSION_DENIED");
    Path request = folder.resolve("renewal.csr");
    Files.writeString(request, identities.request("", Subject.SAME));
    identities.accept(server.sign(request), Subject.SAME);
    ClientIdentity renewed = identities.switchToNext(reads(id, key));
    assertThat(renewed.certificate())
        .isNotEqualTo(Certificates.read(server.certificate("other")).getFirst());
    try (KmipClient client = client(server, "other")) {
      assertThat(keyBytes(client, id)).isEqualTo(key);
    }
  }

  private IdentityFolder.Proof reads(String id, byte[] key) {
    return next -> {
      try (KmipClient client = client(server, next, VersionRange.defaults())) {
        assertThat(keyBytes(client, id)).isEqualTo(key);
      } catch (KmsException e) {
        throw new IOException(e);
      }
    };
  }
}
