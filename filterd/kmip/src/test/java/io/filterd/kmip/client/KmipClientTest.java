package io.filterd.kmip.client;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.filterd.kmip.Attribute;
import io.filterd.kmip.KmipVersion;
import io.filterd.kmip.Operation;
import io.filterd.kmip.ResultReason;
import io.filterd.kmip.RevocationReasonCode;
import io.filterd.kmip.State;
import io.filterd.kmip.UsageMask;
import io.filterd.kmip.cert.ClientIdentity;
import io.filterd.kmip.client.KmsException.Reason;
import io.filterd.kmip.net.ConnectionPool;
import io.filterd.kmip.net.PoolSettings;
import io.filterd.kmip.net.ServerAddress;
import io.filterd.kmip.net.ServerTrust;
import io.filterd.kmip.net.Timeouts;
import io.filterd.kmip.net.TlsSettings;
import io.filterd.kmip.server.KmipReplies;
import io.filterd.kmip.server.KmipReplies.Reply;
import io.filterd.kmip.server.ScriptedKmipServer;
import io.filterd.kmip.server.TestPki;
import io.filterd.kmip.server.TestPki.Order;
import io.filterd.kmip.ttlv.Item;
import io.filterd.kmip.ttlv.Tag;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The client against servers that do what the one real server of the tests does not. */
class KmipClientTest {
  private static final TestPki PKI = new TestPki("kms authority");
  private static final ClientIdentity SERVER = PKI.issue(Order.server());
  private static final ClientIdentity CLIENT = PKI.issue(Order.client("filterd"));
  private static final byte[] KEY =
      "0123456789abcdef0123456789ABCDEF".getBytes(StandardCharsets.US_ASCII);

  @TempDir Path folder;
  private final KmipReplies replies = new KmipReplies();

  @SuppressWarnings("NullAway.Init") // Started before each test.
  private ScriptedKmipServer server;

  @BeforeEach
  void start() {
    replies.speaking(KmipVersion.V1_4, KmipVersion.V1_2, KmipVersion.V1_1);
    server =
        ScriptedKmipServer.start(SERVER, PKI.certificate(), ScriptedKmipServer.answering(replies));
  }

  @AfterEach
  void stop() {
    server.close();
  }

  private KmipClient client() throws IOException {
    return client(VersionRange.defaults());
  }

  private KmipClient client(VersionRange versions) throws IOException {
    return new KmipClient(
        new ConnectionPool(
            new ServerAddress("127.0.0.1", server.port()),
            TlsSettings.of(new ServerTrust.SignedBy(PKI.writeTo(folder.resolve("ca.crt"))), CLIENT),
            new Timeouts(Duration.ofSeconds(5), Duration.ofSeconds(10), Duration.ofSeconds(10)),
            PoolSettings.defaults()),
        versions,
        null);
  }

  private static Item id(String id) {
    return Item.text(Tag.UNIQUE_IDENTIFIER, id);
  }

  private static Item attribute(String name, Item value) {
    return Item.structure(Tag.ATTRIBUTE, Item.text(Tag.ATTRIBUTE_NAME, name), value);
  }

  private static Item state(State state) {
    return attribute("State", Item.enumeration(Tag.ATTRIBUTE_VALUE, state.code()));
  }

  private static Item name(String name) {
    return attribute(
        "Name",
        Item.structure(
            Tag.ATTRIBUTE_VALUE,
            Item.text(Tag.NAME_VALUE, name),
            Item.enumeration(Tag.NAME_TYPE, 1)));
  }

  private static Item key(byte[] material) {
    return Item.structure(
        Tag.SYMMETRIC_KEY,
        Item.structure(
            Tag.KEY_BLOCK,
            Item.enumeration(Tag.KEY_FORMAT_TYPE, 1),
            Item.structure(
                Tag.KEY_VALUE, Item.bytes(Tag.KEY_MATERIAL, MemorySegment.ofArray(material))),
            Item.enumeration(Tag.CRYPTOGRAPHIC_ALGORITHM, 3),
            Item.integer(Tag.CRYPTOGRAPHIC_LENGTH, 256)));
  }

  private static KmsException failure(ThrowingCallable action) {
    return catchThrowableOfType(KmsException.class, action);
  }

  @Test
  void speaksTheLatestCommonVersionAndRemembersIt() throws IOException, KmsException {
    replies.on(Operation.QUERY, (version, payload) -> Reply.done());
    try (KmipClient client = client()) {
      assertThat(client.version()).isEmpty();
      client.probe();
      client.probe();
      assertThat(client.version()).contains(KmipVersion.V1_4);
    }
    try (KmipClient client = client(new VersionRange(KmipVersion.V1_0, KmipVersion.V1_3))) {
      client.probe();
      assertThat(client.version()).contains(KmipVersion.V1_2);
    }
    assertThat(replies.asked(Operation.DISCOVER_VERSIONS)).isEqualTo(2);
  }

  @Test
  void saysThatThereIsNoCommonVersion() throws IOException {
    try (KmipClient client = client(new VersionRange(KmipVersion.V2_0, KmipVersion.V2_1))) {
      KmsException failure = failure(client::probe);
      assertThat(failure)
          .hasMessage(
              "KMS 127.0.0.1:"
                  + server.port()
                  + ": versions: the server speaks [1.4, 1.2, 1.1] (expected: one of [2.1, 2.0])");
      assertThat(failure.reason()).isEqualTo(Reason.PROTOCOL);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "OPERATION_NOT_SUPPORTED, 1.1",
    "INVALID_MESSAGE, 1.1",
    "OPERATION_NOT_SUPPORTED, 1.0",
    "INVALID_MESSAGE, 1.0"
  })
  void fallsBackToAnOldVersion(ResultReason reason, String spoken)
      throws IOException, KmsException {
    replies.on(Operation.DISCOVER_VERSIONS, (version, payload) -> Reply.notRead(reason));
    replies.on(
        Operation.QUERY,
        (version, payload) ->
            version.toString().equals(spoken)
                ? Reply.done()
                : Reply.notRead(ResultReason.INVALID_MESSAGE));
    try (KmipClient client = client(new VersionRange(KmipVersion.V1_0, KmipVersion.V2_1))) {
      client.probe();
      assertThat(client.version()).map(KmipVersion::toString).contains(spoken);
    }
  }

  @Test
  void asksAServerOfLaterVersionsOnlyInItsOwn() throws IOException, KmsException {
    replies.on(
        Operation.DISCOVER_VERSIONS,
        (version, payload) ->
            version.major() < 2
                ? Reply.notRead(ResultReason.UNSUPPORTED_PROTOCOL_VERSION)
                : Reply.done(
                    Item.structure(
                        Tag.PROTOCOL_VERSION,
                        Item.integer(Tag.PROTOCOL_VERSION_MAJOR, 2),
                        Item.integer(Tag.PROTOCOL_VERSION_MINOR, 1))));
    replies.on(Operation.QUERY, (version, payload) -> Reply.done());
    try (KmipClient client = client()) {
      client.probe();
      assertThat(client.version()).contains(KmipVersion.V2_1);
    }
  }

  @Test
  void takesARefusalOfEachMessageForMissingTrust() throws IOException {
    replies.on(
        Operation.DISCOVER_VERSIONS,
        (version, payload) -> Reply.notRead(ResultReason.AUTHENTICATION_NOT_SUCCESSFUL));
    try (KmipClient client = client()) {
      assertThat(failure(client::probe).reason()).isEqualTo(Reason.NOT_TRUSTED);
      assertThat(replies.asked()).containsExactly(Operation.DISCOVER_VERSIONS);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "ITEM_NOT_FOUND, NOT_FOUND",
    "OBJECT_NOT_FOUND, NOT_FOUND",
    "OBJECT_DESTROYED, NOT_FOUND",
    "PERMISSION_DENIED, DENIED",
    "NOT_AUTHORISED, DENIED",
    "SENSITIVE, DENIED",
    "OBJECT_ARCHIVED, WRONG_STATE",
    "WRONG_KEY_LIFECYCLE_STATE, WRONG_STATE",
    "AUTHENTICATION_NOT_SUCCESSFUL, NOT_TRUSTED",
    "OPERATION_NOT_SUPPORTED, NOT_SUPPORTED",
    "INVALID_FIELD, NOT_SUPPORTED",
    "RESPONSE_TOO_LARGE, PROTOCOL",
    "GENERAL_FAILURE, UNAVAILABLE",
    "INTERNAL_SERVER_ERROR, UNAVAILABLE"
  })
  void givesEachRefusalItsMeaning(ResultReason said, Reason meant) throws IOException {
    replies.on(Operation.GET, (version, payload) -> Reply.refused(said));
    try (KmipClient client = client()) {
      KmsException failure = failure(() -> client.get("k-1").close());
      assertThat(failure.reason()).isEqualTo(meant);
      assertThat(failure.is(said)).isTrue();
      assertThat(failure.maybeDone()).isFalse();
      assertThat(failure)
          .hasMessage(
              "KMS 127.0.0.1:"
                  + server.port()
                  + ": GET: the server answers OPERATION_FAILED, "
                  + said
                  + ": \"no\"");
    }
    assertThat(server.connections()).isEqualTo(1);
  }

  @Test
  void handsAKeyOutInNativeMemory() throws IOException, KmsException {
    replies.on(
        Operation.GET,
        (version, payload) ->
            Reply.done(
                Item.enumeration(Tag.OBJECT_TYPE, 2),
                id(KmipReplies.text(payload, Tag.UNIQUE_IDENTIFIER)),
                key(KEY)));
    try (KmipClient client = client()) {
      FetchedKey key = client.get("k-1");
      assertThat(key.bytes().isNative()).isTrue();
      assertThat(key.bytes().mismatch(MemorySegment.ofArray(KEY))).isEqualTo(-1);
      assertThat(key.toString()).isEqualTo("FetchedKey[id=k-1, 32 bytes]");
      key.close();
      assertThat(key.bytes().scope().isAlive()).isFalse();
    }
  }

  @Test
  void refusesAnotherKeyThanTheOneAskedForAndClosesTheConnection() throws IOException {
    replies.on(
        Operation.GET,
        (version, payload) ->
            Reply.done(Item.enumeration(Tag.OBJECT_TYPE, 2), id("k-2"), key(KEY)));
    try (KmipClient client = client()) {
      KmsException failure = failure(() -> client.get("k-1").close());
      assertThat(failure.reason()).isEqualTo(Reason.PROTOCOL);
      assertThat(failure).hasMessageContaining("GET: ").hasMessageContaining("k-2");
      assertThat(failure(() -> client.get("k-1").close()).reason()).isEqualTo(Reason.PROTOCOL);
    }
    assertThat(server.connections()).isEqualTo(2);
  }

  @Test
  void findsAKeyAgainWhoseCreationWasLost() throws IOException, KmsException {
    KeySpec spec = KeySpec.aes256();
    replies.on(Operation.CREATE, (version, payload) -> null);
    replies.on(Operation.LOCATE, (version, payload) -> Reply.done(id("k-9"), id("k-7")));
    replies.on(
        Operation.GET_ATTRIBUTES,
        (version, payload) -> {
          String id = KmipReplies.text(payload, Tag.UNIQUE_IDENTIFIER);
          return Reply.done(
              id(id),
              name(spec.name()),
              attribute(
                  "Initial Date",
                  Item.dateTime(Tag.ATTRIBUTE_VALUE, id.equals("k-7") ? 1_000 : 2_000)));
        });
    try (KmipClient client = client()) {
      assertThat(client.create(spec)).isEqualTo("k-7");
    }
    assertThat(replies.asked(Operation.CREATE)).isEqualTo(1);
  }

  @Test
  void saysThatAKeyMayHaveBeenMade() throws IOException {
    replies.on(Operation.CREATE, (version, payload) -> null);
    replies.on(Operation.LOCATE, (version, payload) -> Reply.done());
    try (KmipClient client = client()) {
      KmsException failure = failure(() -> client.create(KeySpec.aes256()));
      assertThat(failure.reason()).isEqualTo(Reason.UNAVAILABLE);
      assertThat(failure.maybeDone()).isTrue();
    }
    assertThat(replies.asked(Operation.CREATE)).isEqualTo(1);
  }

  @Test
  void neverMakesAKeyTwiceWhenAKeptConnectionBreaks() throws IOException, KmsException {
    AtomicInteger made = new AtomicInteger();
    replies.on(Operation.QUERY, (version, payload) -> Reply.done());
    replies.on(
        Operation.CREATE,
        (version, payload) -> {
          made.incrementAndGet();
          return null;
        });
    replies.on(Operation.LOCATE, (version, payload) -> Reply.done());
    try (KmipClient client = client()) {
      client.probe();
      assertThat(failure(() -> client.create(KeySpec.aes256())).maybeDone()).isTrue();
    }
    assertThat(made).hasValue(1);
  }

  @Test
  void believesOnlyHitsThatHaveWhatWasLookedFor() throws IOException, KmsException {
    replies.on(Operation.LOCATE, (version, payload) -> Reply.done(id("k-1"), id("k-2"), id("k-3")));
    replies.on(
        Operation.GET_ATTRIBUTES,
        (version, payload) -> {
          String id = KmipReplies.text(payload, Tag.UNIQUE_IDENTIFIER);
          return id.equals("k-3") ? Reply.done(id(id)) : Reply.done(id(id), name("of-" + id));
        });
    try (KmipClient client = client()) {
      assertThat(client.locate(List.of(Attribute.name("of-k-2")), 10)).containsExactly("k-2");
      assertThat(client.find("of-k-7")).isEmpty();
    }
  }

  @Test
  void letsTheStateDecideWhetherAChangeIsDone() throws IOException, KmsException {
    replies.on(
        Operation.ACTIVATE, (version, payload) -> Reply.refused(ResultReason.PERMISSION_DENIED));
    replies.on(
        Operation.REVOKE, (version, payload) -> Reply.refused(ResultReason.ILLEGAL_OPERATION));
    replies.on(
        Operation.GET_ATTRIBUTES,
        (version, payload) -> {
          String id = KmipReplies.text(payload, Tag.UNIQUE_IDENTIFIER);
          return Reply.done(id(id), state(State.valueOf(id)));
        });
    try (KmipClient client = client()) {
      client.activate("ACTIVE");
      assertThat(failure(() -> client.activate("PRE_ACTIVE")).reason()).isEqualTo(Reason.DENIED);
      client.deactivate("DEACTIVATED", RevocationReasonCode.SUPERSEDED, "");
      assertThat(
              failure(() -> client.deactivate("ACTIVE", RevocationReasonCode.SUPERSEDED, ""))
                  .reason())
          .isEqualTo(Reason.WRONG_STATE);
    }
  }

  @Test
  void labelsWhereItCanAndGivesUpWhereItCannot() throws IOException, KmsException {
    Attribute label = Attribute.custom("x-Product", "filterd");
    replies.on(Operation.ADD_ATTRIBUTE, (version, payload) -> Reply.done(id("k-1")));
    try (KmipClient client = client()) {
      assertThat(client.label("k-1", label)).isTrue();
    }
    replies.on(
        Operation.ADD_ATTRIBUTE, (version, payload) -> Reply.notRead(ResultReason.INVALID_MESSAGE));
    try (KmipClient client = client()) {
      assertThat(client.label("k-1", label)).isFalse();
      assertThat(client.label("k-1", label)).isFalse();
      assertThat(client.unsupported()).containsExactly(Operation.ADD_ATTRIBUTE);
    }
    assertThat(replies.asked(Operation.ADD_ATTRIBUTE)).isEqualTo(2);
  }

  @Test
  void asksOnceForWhatTheServerCannotDo() throws IOException {
    try (KmipClient client = client()) {
      for (int i = 0; i < 3; i++) {
        assertThat(failure(() -> client.rekey("k-1")).reason()).isEqualTo(Reason.NOT_SUPPORTED);
      }
    }
    assertThat(replies.asked(Operation.REKEY)).isEqualTo(1);
  }

  @Test
  void rekeysAndChecks() throws IOException, KmsException {
    replies.on(Operation.REKEY, (version, payload) -> Reply.done(id("k-2")));
    replies.on(
        Operation.CHECK,
        (version, payload) ->
            Reply.done(id("k-1"), Item.integer(Tag.CRYPTOGRAPHIC_USAGE_MASK, UsageMask.WRAP_KEY)));
    try (KmipClient client = client()) {
      assertThat(client.rekey("k-1")).isEqualTo("k-2");
      assertThat(client.allows("k-1", UsageMask.WRAP_KEY | UsageMask.ENCRYPT)).isFalse();
      assertThat(client.allows("k-1", UsageMask.ENCRYPT)).isTrue();
      assertThat(failure(() -> client.rekey("k-2")).reason()).isEqualTo(Reason.PROTOCOL);
    }
  }

  @Test
  void saysThatAServerIsAway() throws IOException {
    try (KmipClient client = client()) {
      server.close();
      KmsException failure = failure(client::probe);
      assertThat(failure.reason()).isEqualTo(Reason.UNAVAILABLE);
      assertThat(failure)
          .hasMessage(
              "KMS 127.0.0.1:"
                  + server.port()
                  + ": connect: Connection refused (expected: a listening server), during"
                  + " DISCOVER_VERSIONS");
    }
  }
}
