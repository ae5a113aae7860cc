package io.filterd.kmip;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.filterd.kmip.cert.ClientIdentity;
import io.filterd.kmip.client.KmipClient;
import io.filterd.kmip.client.KmsException;
import io.filterd.kmip.client.VersionRange;
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
import io.filterd.kmip.ttlv.Structure;
import io.filterd.kmip.ttlv.Tag;
import io.filterd.kmip.ttlv.TtlvException;
import io.filterd.kmip.ttlv.TtlvLimits;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicReference;
import javax.xml.parsers.ParserConfigurationException;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.xml.sax.SAXException;

/** The client with a server that answers in OASIS's words, for what PyKMIP does not do. */
class OasisReplayTest {
  @TempDir Path folder;

  private final AtomicReference<@Nullable Structure> answer = new AtomicReference<>();

  /** What came of a request: the server's reason if it was refused. */
  private record Outcome(@Nullable KmipAnswer done, @Nullable KmipException refusal) {}

  @Test
  void rekeysAndLabelsAsOasisHasIt()
      throws IOException, SAXException, ParserConfigurationException, KmsException {
    TestPki pki = new TestPki("kms authority");
    ClientIdentity identity = pki.issue(Order.client("filterd"));
    Path authorities = pki.writeTo(folder.resolve("ca.crt"));
    KmipReplies replies = new KmipReplies();
    replies.on(Operation.QUERY, (version, payload) -> Reply.done());
    replies.on(
        Operation.DISCOVER_VERSIONS,
        (version, payload) ->
            Reply.done(Objects.requireNonNull(payload.first(Tag.PROTOCOL_VERSION))));
    for (Operation operation : List.of(Operation.REKEY, Operation.ADD_ATTRIBUTE)) {
      replies.on(
          operation, (version, payload) -> new Reply.Whole(Objects.requireNonNull(answer.get())));
    }
    Map<Operation, Integer> played = new EnumMap<>(Operation.class);
    try (ScriptedKmipServer server =
        ScriptedKmipServer.start(
            pki.issue(Order.server()), pki.certificate(), ScriptedKmipServer.answering(replies))) {
      List<OasisCases.Message> messages = OasisCases.all();
      for (int i = 0; i + 1 < messages.size(); i++) {
        Structure response = messages.get(i + 1).item();
        List<@Nullable KmipRequest<?>> requests =
            messages.get(i).isRequest() ? RequestReading.all(messages.get(i).item()) : List.of();
        if (requests.size() != 1
            || messages.get(i + 1).isRequest()
            || !isPlayed(requests.getFirst())) {
          continue;
        }
        answer.set(response);
        KmipVersion version = version(response);
        try (KmipClient client =
            new KmipClient(
                new ConnectionPool(
                    new ServerAddress("127.0.0.1", server.port()),
                    TlsSettings.of(new ServerTrust.SignedBy(authorities), identity),
                    Timeouts.defaults(),
                    PoolSettings.defaults()),
                new VersionRange(version, version),
                null)) {
          KmipRequest<?> request = Objects.requireNonNull(requests.getFirst());
          play(client, request, response);
          played.merge(request.operation(), 1, Integer::sum);
        }
      }
    }
    // It has no Check.
    assertThat(played).isEqualTo(Map.of(Operation.REKEY, 15, Operation.ADD_ATTRIBUTE, 30));
  }

  private static KmipVersion version(Structure response) throws TtlvException {
    return ResponseMessage.version(
        Fields.message(response, Tag.RESPONSE_MESSAGE)
            .structure(Tag.RESPONSE_HEADER)
            .structure(Tag.PROTOCOL_VERSION));
  }

  private static boolean isPlayed(@Nullable KmipRequest<?> request) {
    return request instanceof KmipRequest.ReKey || request instanceof KmipRequest.AddAttribute;
  }

  private static void play(KmipClient client, KmipRequest<?> request, Structure response)
      throws TtlvException, KmsException {
    switch (request) {
      case KmipRequest.ReKey rekey -> {
        Outcome expected = outcome(rekey, response);
        if (expected.done() instanceof KmipAnswer.ObjectId(String successor)) {
          assertThat(client.rekey(rekey.id())).isEqualTo(successor);
        } else {
          assertRefused(expected, () -> client.rekey(rekey.id()));
        }
      }
      case KmipRequest.AddAttribute add ->
          assertThat(client.label(add.id(), add.attribute()))
              .isEqualTo(outcome(add, response).done() != null);
      default -> throw new IllegalArgumentException(request.toString());
    }
  }

  private static void assertRefused(Outcome expected, ThrowingCallable call) {
    KmipException refusal = Objects.requireNonNull(expected.refusal());
    KmsException failure = catchThrowableOfType(KmsException.class, call);
    assertThat(failure.is(Objects.requireNonNull(Objects.requireNonNull(refusal.reason()).known())))
        .isTrue();
  }

  private static Outcome outcome(KmipRequest<? extends KmipAnswer> request, Structure response)
      throws TtlvException {
    try {
      return new Outcome(
          ResponseMessage.read(ByteBuffer.wrap(KmipReplies.bytes(response)), TtlvLimits.DEFAULT)
              .answerTo(request),
          null);
    } catch (KmipException e) {
      return new Outcome(null, e);
    }
  }
}
