package io.filterd.nbd;

import static io.filterd.nbd.wire.Protocol.NBD_CMD_BLOCK_STATUS;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_DISC;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLAG_DF;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_READ;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_TRIM;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_WRITE;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_WRITE_ZEROES;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_EXPORT_NAME;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_GO;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_SET_META_CONTEXT;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_STRUCTURED_REPLY;
import static io.filterd.nbd.wire.Protocol.NBD_REPLY_TYPE_OFFSET_HOLE;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ACK;
import static io.filterd.nbd.wire.Protocol.NBD_REP_INFO;
import static io.filterd.nbd.wire.Protocol.NBD_REP_META_CONTEXT;
import static io.filterd.nbd.wire.Protocol.NBD_STATE_ZERO;

import io.filterd.nbd.RawClient.Chunk;
import io.filterd.nbd.RawClient.OptionReply;
import io.filterd.nbd.RawClient.Reply;
import java.io.IOException;
import java.net.SocketAddress;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;

/**
 * Plays scripts to one server, and keeps a model of what its disk must hold by what it has said:
 * answers are right or wrong by the server's own words. Order, cutting and texts are not looked at.
 */
final class ScriptedClient {
  /** What a byte is after a trim: anything. */
  private static final short ANY = -1;

  /** The connection ended in place of an answer. */
  static final int ENDED = -1;

  private final short[] model;

  ScriptedClient(int sizeBytes) {
    this.model = new short[sizeBytes];
  }

  /**
   * Plays a script: an answer for each option, the one to the last option, and one for each
   * request, up to the end of the connection. A request's answer is its error.
   *
   * @throws AssertionError if an answer is wrong
   */
  List<Integer> play(Script script, SocketAddress address) throws IOException {
    List<Integer> answers = new ArrayList<>();
    try (RawClient client = new RawClient(address)) {
      client.greet();
      boolean structured = false;
      for (Script.Option option : script.options()) {
        List<OptionReply> replies = client.ask(option.number(), option.data());
        int type = replies.getLast().type();
        structured |= option.number() == NBD_OPT_STRUCTURED_REPLY && type == NBD_REP_ACK;
        // With a success, how many contexts there were: 1 or 257.
        long contexts =
            replies.stream().filter(each -> each.type() == NBD_REP_META_CONTEXT).count();
        if (option.number() == NBD_OPT_SET_META_CONTEXT && contexts > 0) {
          check(contexts == 1, "contexts: " + contexts);
        }
        answers.add(type + (int) contexts * 256);
      }
      answers.add(begin(client, script));
      for (Script.Ask ask : script.requests()) {
        answers.add(ask(client, ask, structured, script.seed() + answers.size()));
      }
      client.sendRequest(0, NBD_CMD_DISC, 0, 0, 0);
    } catch (IOException ended) {
      answers.add(ENDED);
    }
    return answers;
  }

  /** The transmission flags. */
  private int begin(RawClient client, Script script) throws IOException {
    ByteBuffer export;
    if (script.byName()) {
      client.sendOption(NBD_OPT_EXPORT_NAME, "disk".getBytes(StandardCharsets.UTF_8));
      export = ByteBuffer.wrap(client.readBytes(10));
    } else {
      List<OptionReply> replies = client.ask(NBD_OPT_GO, RawClient.infoData("disk"));
      check(replies.getLast().type() == NBD_REP_ACK, "refused to go on");
      export =
          replies.stream()
              .filter(each -> each.type() == NBD_REP_INFO && each.data().getShort(0) == 0)
              .findFirst()
              .orElseThrow()
              .data()
              .position(2);
    }
    check(export.getLong() == model.length, "size");
    return export.getShort();
  }

  private int ask(RawClient client, Script.Ask ask, boolean structured, long cookie)
      throws IOException {
    byte[] data = {};
    if (ask.command() == NBD_CMD_WRITE) {
      data = new byte[(int) ask.length()];
      new Random(cookie).nextBytes(data);
      client.sendWrite(ask.flags(), cookie, ask.offset(), data);
    } else {
      client.sendRequest(ask.flags(), ask.command(), cookie, ask.offset(), ask.length());
    }
    boolean simple = ask.command() == NBD_CMD_READ && !structured;
    Reply reply = simple ? client.readSimple((int) ask.length()) : client.readReply();
    check(reply.cookie() == cookie, "cookie");
    if (reply.error() == 0 && ask.length() > 0) {
      switch (ask.command()) {
        case NBD_CMD_READ -> {
          if (simple) {
            compare(ask.offset(), reply.chunks().getFirst().bytes(0));
          } else {
            compareChunks(ask, reply.chunks());
          }
        }
        case NBD_CMD_WRITE -> {
          for (int i = 0; i < data.length; i++) {
            model[(int) ask.offset() + i] = (short) (data[i] & 0xff);
          }
        }
        case NBD_CMD_WRITE_ZEROES -> fill(ask, (short) 0);
        case NBD_CMD_TRIM -> fill(ask, ANY);
        case NBD_CMD_BLOCK_STATUS -> compareStatus(ask, reply.chunks());
        default -> {}
      }
    }
    return reply.error();
  }

  private void fill(Script.Ask ask, short value) {
    int from = (int) ask.offset();
    Arrays.fill(model, from, from + (int) ask.length(), value);
  }

  private void compareChunks(Script.Ask ask, List<Chunk> chunks) {
    long said = 0;
    for (Chunk chunk : chunks) {
      long at = chunk.payload().getLong(0);
      // All three send them in order.
      check(at == ask.offset() + said, "chunks in order");
      byte[] data =
          chunk.type() == NBD_REPLY_TYPE_OFFSET_HOLE
              ? new byte[chunk.payload().getInt(8)]
              : chunk.bytes(8);
      check(data.length > 0, "an empty chunk");
      compare(at, data);
      said += data.length;
    }
    check(said == ask.length(), "all is said");
    check((ask.flags() & NBD_CMD_FLAG_DF) == 0 || chunks.size() == 1, "one chunk");
  }

  private void compare(long offset, byte[] data) {
    for (int i = 0; i < data.length; i++) {
      short expected = model[(int) offset + i];
      if (expected != ANY && expected != (data[i] & 0xff)) {
        throw new AssertionError(
            "byte " + (offset + i) + ": " + (data[i] & 0xff) + " (expected: " + expected + ")");
      }
    }
  }

  /** What is said to be zero is; how fine that is cut is everyone's own choice. */
  private void compareStatus(Script.Ask ask, List<Chunk> chunks) {
    check(chunks.size() == 1, "one chunk for the one context");
    ByteBuffer extents = chunks.getFirst().payload().duplicate().position(4);
    check(extents.remaining() >= 8 && extents.remaining() % 8 == 0, "extents");
    check((ask.flags() & 8) == 0 || extents.remaining() == 8, "one extent");
    long at = ask.offset();
    while (extents.hasRemaining()) {
      check(at < ask.offset() + ask.length(), "an extent behind the range");
      long length = Integer.toUnsignedLong(extents.getInt());
      check(length > 0, "an empty extent");
      if ((extents.getInt() & NBD_STATE_ZERO) != 0) {
        compare(at, new byte[(int) Math.min(length, model.length - at)]);
      }
      at += length;
    }
    check((ask.flags() & 8) == 0 || at <= ask.offset() + ask.length(), "one within the range");
  }

  private static void check(boolean right, String what) {
    if (!right) {
      throw new AssertionError(what);
    }
  }
}
