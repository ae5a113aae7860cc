package io.filterd.nbd.wire;

import io.netty.buffer.ByteBuf;

/**
 * The data of NBD_OPT_LIST_META_CONTEXT and NBD_OPT_SET_META_CONTEXT.
 *
 * @param export the export's name; empty for the default export
 * @param empty whether there was no query
 * @param queries all of them in one text, which takes no more memory than they did on the wire: a
 *     NUL before each and behind the last
 */
public record ContextRequest(String export, boolean empty, String queries) {
  /** No query has one (proto.md, "Conventions"). */
  private static final char BETWEEN = '\0';

  /**
   * Reads all of {@code data}.
   *
   * @throws ProtocolException if that is no such request
   */
  public static ContextRequest read(ByteBuf data) throws ProtocolException {
    String export = Strings.read(data, Fields.u32(data, "name length"), "export name");
    long count = Fields.u32(data, "number of queries");
    StringBuilder queries = new StringBuilder().append(BETWEEN);
    for (long i = 0; i < count; i++) {
      // Each query takes four bytes at least, so that the data bounds their number.
      long length = Fields.u32(data, "query length");
      queries.append(readQuery(data, length)).append(BETWEEN);
    }
    if (data.isReadable()) {
      throw new ProtocolException("queries: " + data.readableBytes() + " bytes too many");
    }
    return new ContextRequest(export, count == 0, queries.toString());
  }

  private static String readQuery(ByteBuf data, long length) throws ProtocolException {
    String query = Strings.read(data, length, "query");
    if (query.indexOf(':') < 0) {
      throw new ProtocolException(
          "query: " + Strings.printable(query) + " (expected: NAMESPACE:LEAF)");
    }
    return query;
  }

  /** Whether a context of this name is asked for, to be chosen. */
  public boolean names(String context) {
    return queries.contains(BETWEEN + context + BETWEEN);
  }

  /**
   * Whether a context of this name is asked for, to be listed: by itself, or by what its name
   * begins with up to a colon.
   */
  public boolean lists(String context) {
    if (empty || names(context)) {
      return true;
    }
    for (int colon = context.indexOf(':'); colon >= 0; colon = context.indexOf(':', colon + 1)) {
      if (names(context.substring(0, colon + 1))) {
        return true;
      }
    }
    return false;
  }
}
