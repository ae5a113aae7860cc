package io.filterd.nbd;

import static io.filterd.nbd.wire.Protocol.NBD_CMD_BLOCK_STATUS;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_CACHE;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLUSH;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_READ;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_TRIM;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_WRITE;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_WRITE_ZEROES;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_INFO;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_LIST;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_LIST_META_CONTEXT;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_SET_META_CONTEXT;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_STRUCTURED_REPLY;

import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;

/**
 * What a client asks of several servers alike: options, how it goes on to the transmission phase,
 * and requests, one after another, right and wrong. The same for the same seed.
 *
 * @param readOnly whether it is for a server whose export is read-only
 * @param byName whether it goes on by NBD_OPT_EXPORT_NAME
 */
record Script(
    long seed, boolean readOnly, boolean byName, List<Option> options, List<Ask> requests) {
  /** An option; {@code about} is what is special in its data. */
  static final class Option {
    private final int number;
    private final byte[] data;
    private final String about;

    private Option(int number, byte[] data, String about) {
      this.number = number;
      this.data = data;
      this.about = about;
    }

    int number() {
      return number;
    }

    byte[] data() {
      return data;
    }

    String about() {
      return about;
    }

    @Override
    public String toString() {
      return "option " + number + " " + about;
    }
  }

  /** A request. */
  record Ask(int flags, int command, long offset, long length) {}

  private static final String EXPORT = "disk";

  static Script of(long seed, long sizeBytes) {
    SplittableRandom random = new SplittableRandom(seed);
    List<Option> options = new ArrayList<>();
    int style = random.nextInt(4);
    if (style >= 2) {
      options.add(new Option(NBD_OPT_STRUCTURED_REPLY, new byte[0], ""));
    }
    for (int count = random.nextInt(3); count > 0; count--) {
      options.add(anyOption(random));
    }
    if (style == 3) {
      options.add(contexts(NBD_OPT_SET_META_CONTEXT, EXPORT, "base:allocation"));
    }
    boolean readOnly = random.nextInt(8) == 0;
    List<Ask> requests = new ArrayList<>();
    // The same zeros everywhere to begin with.
    requests.add(new Ask(0, NBD_CMD_WRITE_ZEROES, 0, sizeBytes));
    for (int count = 3 + random.nextInt(6); count > 0; count--) {
      requests.add(anyRequest(random, sizeBytes));
    }
    return new Script(seed, readOnly, style == 0, options, requests);
  }

  private static Option contexts(int number, String export, String... queries) {
    return new Option(
        number,
        RawClient.contextData(export, queries),
        String.join(" ", queries) + (export.equals(EXPORT) ? "" : " of another export"));
  }

  private static Option info(String export, String about, int... types) {
    return new Option(NBD_OPT_INFO, RawClient.infoData(export, types), about);
  }

  private static Option anyOption(SplittableRandom random) {
    return switch (random.nextInt(18)) {
      case 0 -> new Option(NBD_OPT_LIST, new byte[0], "");
      case 1 -> new Option(NBD_OPT_LIST, new byte[3], "data");
      case 2 -> info(EXPORT, "", 1, 2, 3);
      case 3 -> info(EXPORT, "unknown types", 77, 0x1234);
      case 4 -> info("none", "another export");
      case 5 -> new Option(NBD_OPT_INFO, new byte[] {0, 0, 0, 9, 'd'}, "malformed");
      case 6 -> new Option(NBD_OPT_STRUCTURED_REPLY, new byte[0], "");
      case 7 -> new Option(NBD_OPT_STRUCTURED_REPLY, new byte[2], "data");
      case 8 -> contexts(NBD_OPT_LIST_META_CONTEXT, EXPORT);
      case 9 -> contexts(NBD_OPT_LIST_META_CONTEXT, EXPORT, "base:");
      case 10 -> contexts(NBD_OPT_LIST_META_CONTEXT, EXPORT, "x:y", "base:allocation");
      case 11 -> contexts(NBD_OPT_LIST_META_CONTEXT, "none", "base:allocation");
      case 12 -> contexts(NBD_OPT_SET_META_CONTEXT, EXPORT);
      case 13 -> contexts(NBD_OPT_SET_META_CONTEXT, EXPORT, "base:");
      case 14 -> contexts(NBD_OPT_SET_META_CONTEXT, EXPORT, "x:y", "base:allocation");
      case 15 -> contexts(NBD_OPT_SET_META_CONTEXT, "none", "base:allocation");
      case 16 -> new Option(NBD_OPT_SET_META_CONTEXT, new byte[] {0, 0, 0, 9, 'd'}, "malformed");
      default -> {
        // 4 is PEEK_EXPORT, which nobody has; the others do not exist.
        int[] unknown = {4, 12, 99, 0x7fff_ffff};
        yield new Option(
            unknown[random.nextInt(unknown.length)], new byte[random.nextInt(9)], "unknown");
      }
    };
  }

  private static Ask anyRequest(SplittableRandom random, long sizeBytes) {
    int[] commands = {
      NBD_CMD_READ,
      NBD_CMD_READ,
      NBD_CMD_READ,
      NBD_CMD_READ,
      NBD_CMD_WRITE,
      NBD_CMD_WRITE,
      NBD_CMD_WRITE,
      NBD_CMD_WRITE,
      NBD_CMD_WRITE_ZEROES,
      NBD_CMD_WRITE_ZEROES,
      NBD_CMD_WRITE_ZEROES,
      NBD_CMD_TRIM,
      NBD_CMD_TRIM,
      NBD_CMD_FLUSH,
      NBD_CMD_CACHE,
      NBD_CMD_BLOCK_STATUS,
      NBD_CMD_BLOCK_STATUS,
      NBD_CMD_BLOCK_STATUS,
      8,
      55,
      65_535
    };
    int command = commands[random.nextInt(commands.length)];
    int flags =
        switch (random.nextInt(8)) {
          case 0 -> 1 << random.nextInt(5);
          case 1 -> 1;
          case 2 -> random.nextInt(4) == 0 ? 1 << random.nextInt(16) : 2;
          default -> 0;
        };
    if (command == NBD_CMD_FLUSH) {
      return new Ask(flags, command, 0, 0);
    }
    int unit = random.nextBoolean() ? 4096 : 1;
    long length = unit * (1L + random.nextInt((int) (sizeBytes / 4 / unit)));
    long offset = random.nextLong((sizeBytes - length) / unit + 1) * unit;
    return switch (random.nextInt(16)) {
      case 0 -> new Ask(flags, command, offset, 0);
      case 1 -> new Ask(flags, command, sizeBytes - length / 2, length);
      case 2 -> new Ask(flags, command, sizeBytes, Math.min(length, 4096));
      case 3 -> new Ask(flags, command, random.nextBoolean() ? -1 : 1L << 62, 512);
      // Of a write the payload would have to follow.
      case 4 -> new Ask(flags, command, 0, command == NBD_CMD_WRITE ? 512 : 33L << 20);
      default -> new Ask(flags, command, offset, length);
    };
  }
}
