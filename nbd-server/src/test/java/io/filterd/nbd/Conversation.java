package io.filterd.nbd;

import static io.filterd.nbd.wire.Protocol.NBD_CMD_BLOCK_STATUS;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_DISC;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_WRITE;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_ABORT;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_EXPORT_NAME;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_GO;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_INFO;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_LIST;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_LIST_META_CONTEXT;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_SET_META_CONTEXT;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_STRUCTURED_REPLY;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;

/**
 * All that one client says, from its flags to its goodbye: valid at first, then spoilt. The same
 * for the same random numbers.
 */
final class Conversation {
  private static final int MOST_BYTES = 64 << 10;

  private final SplittableRandom random;
  private final String export;
  private final long sizeBytes;
  private final List<byte[]> messages = new ArrayList<>();

  /** The first message of the transmission phase. */
  private int firstRequest;

  private Conversation(SplittableRandom random, String export, long sizeBytes) {
    this.random = random;
    this.export = export;
    this.sizeBytes = sizeBytes;
  }

  /** A valid one with a server that has this export. */
  static Conversation valid(SplittableRandom random, String export, long sizeBytes) {
    Conversation made = new Conversation(random, export, sizeBytes);
    made.messages.add(
        ByteBuffer.allocate(4).putInt(RawClient.FIXED_NEWSTYLE | random.nextInt(2) * 2).array());
    for (int options = random.nextInt(4); options > 0; options--) {
      made.messages.add(made.option());
    }
    made.messages.add(made.lastOption());
    made.firstRequest = made.messages.size();
    for (int requests = 1 + random.nextInt(8); requests > 0; requests--) {
      made.messages.add(made.request());
    }
    made.messages.add(RawClient.request(0, NBD_CMD_DISC, 0, 0, 0));
    return made;
  }

  private byte[] option() {
    return switch (random.nextInt(7)) {
      case 0 -> RawClient.option(NBD_OPT_LIST);
      case 1 -> RawClient.option(NBD_OPT_INFO, RawClient.infoData(export, 1, 2, 3));
      case 2 ->
          RawClient.option(NBD_OPT_LIST_META_CONTEXT, RawClient.contextData(export, "base:", "x:"));
      case 3 ->
          RawClient.option(
              NBD_OPT_SET_META_CONTEXT, RawClient.contextData(export, "base:allocation"));
      case 4 -> RawClient.option(random.nextInt(20), new byte[random.nextInt(20)]);
      default -> RawClient.option(NBD_OPT_STRUCTURED_REPLY);
    };
  }

  private byte[] lastOption() {
    return switch (random.nextInt(10)) {
      case 0 -> RawClient.option(NBD_OPT_ABORT);
      case 1 -> RawClient.option(NBD_OPT_EXPORT_NAME, export.getBytes(StandardCharsets.UTF_8));
      default -> RawClient.option(NBD_OPT_GO, RawClient.infoData(export, 3));
    };
  }

  private byte[] request() {
    int command = random.nextInt(NBD_CMD_BLOCK_STATUS + 1);
    int length = 1 + random.nextInt(4096);
    byte[] header =
        RawClient.request(
            0,
            command == NBD_CMD_DISC ? 0 : command,
            random.nextLong(),
            random.nextLong(sizeBytes - length),
            length);
    if (command != NBD_CMD_WRITE) {
      return header;
    }
    byte[] whole = new byte[header.length + length];
    System.arraycopy(header, 0, whole, 0, header.length);
    return whole;
  }

  /** Spoils it in one to four places. Half of the time its handshake is left alone. */
  byte[] spoilt(Conversation other) {
    int from = random.nextBoolean() ? firstRequest : 0;
    int changes = 1 + random.nextInt(4);
    boolean byMessage = random.nextInt(3) == 0;
    if (byMessage) {
      spoilMessages(from);
    }
    byte[] bytes = bytes();
    int start = 0;
    for (int i = 0; i < Math.min(from, messages.size()); i++) {
      start += messages.get(i).length;
    }
    for (int i = byMessage ? 1 : 0; i < changes; i++) {
      bytes = spoil(bytes, Math.min(start, bytes.length), other);
    }
    return bytes.length > MOST_BYTES ? cut(bytes, 0, MOST_BYTES) : bytes;
  }

  /** The messages one after another. */
  byte[] bytes() {
    return RawClient.bytes(
        to -> {
          for (byte[] message : messages) {
            to.write(message);
          }
        });
  }

  /** A whole message is left out, said twice, moved, or gets another length. */
  private void spoilMessages(int from) {
    int at = from + random.nextInt(messages.size() - from);
    switch (random.nextInt(4)) {
      case 0 -> messages.remove(at);
      case 1 -> messages.add(at, messages.get(at));
      case 2 -> messages.add(from, messages.remove(at));
      default -> {
        byte[] message = messages.get(at).clone();
        // Where an option and a request have their lengths.
        int field = at < firstRequest ? 12 : 24;
        if (message.length >= field + 4) {
          ByteBuffer.wrap(message).putInt(field, length());
        }
        messages.set(at, message);
      }
    }
  }

  private int length() {
    return switch (random.nextInt(5)) {
      case 0 -> -1;
      case 1 -> Integer.MAX_VALUE;
      case 2 -> 1 << random.nextInt(31);
      case 3 -> 0;
      default -> random.nextInt(100_000);
    };
  }

  private byte[] spoil(byte[] bytes, int start, Conversation other) {
    if (bytes.length - start < 8) {
      return bytes;
    }
    int at = start + random.nextInt(bytes.length - start);
    int length = Math.min(1 + random.nextInt(64), bytes.length - at);
    return switch (random.nextInt(8)) {
      case 0 -> cut(bytes, 0, at);
      // Without a part.
      case 1 -> joined(cut(bytes, 0, at), cut(bytes, at + length, bytes.length));
      // A part twice.
      case 2 -> joined(cut(bytes, 0, at + length), cut(bytes, at, bytes.length));
      case 3 -> {
        byte[] theirs = other.bytes();
        yield joined(cut(bytes, 0, at), cut(theirs, random.nextInt(theirs.length), theirs.length));
      }
      case 4 -> {
        byte[] noise = new byte[length];
        random.nextBytes(noise);
        yield joined(joined(cut(bytes, 0, at), noise), cut(bytes, at, bytes.length));
      }
      case 5 -> {
        if (at + 4 <= bytes.length) {
          ByteBuffer.wrap(bytes).putInt(at, length());
        }
        yield bytes;
      }
      case 6 -> {
        bytes[at] = (byte) random.nextInt(256);
        yield bytes;
      }
      default -> {
        bytes[at] ^= (byte) (1 << random.nextInt(8));
        yield bytes;
      }
    };
  }

  private static byte[] cut(byte[] bytes, int from, int to) {
    byte[] part = new byte[to - from];
    System.arraycopy(bytes, from, part, 0, part.length);
    return part;
  }

  private static byte[] joined(byte[] first, byte[] second) {
    byte[] both = new byte[first.length + second.length];
    System.arraycopy(first, 0, both, 0, first.length);
    System.arraycopy(second, 0, both, first.length, second.length);
    return both;
  }
}
