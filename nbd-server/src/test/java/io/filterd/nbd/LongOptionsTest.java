package io.filterd.nbd;

import static io.filterd.nbd.RawClient.contextData;
import static io.filterd.nbd.RawClient.infoData;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_BLOCK_STATUS;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_ABORT;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_EXTENDED_HEADERS;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_GO;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_INFO;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_LIST;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_LIST_META_CONTEXT;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_SET_META_CONTEXT;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_STARTTLS;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_STRUCTURED_REPLY;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ACK;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_INVALID;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_POLICY;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_TOO_BIG;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_UNSUP;
import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.block.MemoryDevice;
import io.filterd.nbd.RawClient.OptionReply;
import java.io.IOException;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Options with more data than is kept: what is said of them is what is said of shorter ones. */
final class LongOptionsTest {
  private static final byte[] TOO_MUCH = new byte[(64 << 10) + 1];

  private final CountedExports exports =
      new CountedExports().with("disk", new MemoryDevice(1 << 20));

  @RegisterExtension final Serving serving = new Serving(exports);

  private static int type(List<OptionReply> replies) {
    return replies.getLast().type();
  }

  @ParameterizedTest
  @CsvSource({
    NBD_OPT_LIST + "," + NBD_REP_ERR_INVALID,
    NBD_OPT_STRUCTURED_REPLY + "," + NBD_REP_ERR_INVALID,
    NBD_OPT_EXTENDED_HEADERS + "," + NBD_REP_ERR_INVALID,
    NBD_OPT_STARTTLS + "," + NBD_REP_ERR_POLICY,
    NBD_OPT_INFO + "," + NBD_REP_ERR_TOO_BIG,
    NBD_OPT_GO + "," + NBD_REP_ERR_TOO_BIG,
    NBD_OPT_LIST_META_CONTEXT + "," + NBD_REP_ERR_TOO_BIG,
    "4," + NBD_REP_ERR_UNSUP,
    "12345," + NBD_REP_ERR_UNSUP
  })
  void areRefusedAsTheyWouldBeIfShorter(int option, int error) throws IOException {
    try (RawClient client = serving.connect().greet()) {
      assertThat(type(client.ask(option, TOO_MUCH))).isEqualTo(error);
      assertThat(type(client.ask(NBD_OPT_LIST))).isEqualTo(NBD_REP_ACK);
    }
  }

  @Test
  void areAcknowledgedWhereTheyEndTheNegotiation() throws IOException {
    try (RawClient client = serving.connect().greet()) {
      assertThat(type(client.ask(NBD_OPT_ABORT, TOO_MUCH))).isEqualTo(NBD_REP_ACK);
      assertThat(client.atEnd()).isTrue();
    }
  }

  @Test
  void dropTheContextsThatTheyWouldReplace() throws IOException {
    try (RawClient client = serving.connect().greet()) {
      client.ask(NBD_OPT_STRUCTURED_REPLY);
      client.ask(NBD_OPT_SET_META_CONTEXT, contextData("disk", "base:allocation"));
      assertThat(type(client.ask(NBD_OPT_SET_META_CONTEXT, TOO_MUCH)))
          .isEqualTo(NBD_REP_ERR_TOO_BIG);
      client.ask(NBD_OPT_GO, infoData("disk"));
      client.sendRequest(0, NBD_CMD_BLOCK_STATUS, 1, 0, 4096);

      assertThat(client.readReply().error()).isNotZero();
    }
  }

  /** Of queries that mean nothing here there may be any number. */
  @Test
  void mayAskForManyContexts() throws IOException {
    String[] queries =
        Stream.concat(
                IntStream.range(0, 3000).mapToObj(i -> "x-unknown:" + i),
                Stream.of("base:allocation", "base:allocation", "base:allocatio"))
            .toArray(String[]::new);
    try (RawClient client = serving.connect().greet()) {
      client.ask(NBD_OPT_STRUCTURED_REPLY);
      List<OptionReply> chosen = client.ask(NBD_OPT_SET_META_CONTEXT, contextData("disk", queries));

      assertThat(type(chosen)).isEqualTo(NBD_REP_ACK);
      assertThat(chosen).hasSize(2);
      assertThat(chosen.getFirst().text(4)).isEqualTo("base:allocation");
    }
  }
}
