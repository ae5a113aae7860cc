package io.filterd.nbd.wire;

import io.netty.buffer.ByteBuf;
import java.util.LinkedHashSet;
import java.util.Set;

/**
 * The data of NBD_OPT_LIST_META_CONTEXT and NBD_OPT_SET_META_CONTEXT.
 *
 * @param export the export's name; empty for the default export
 * @param empty whether there was no query
 * @param queries those that a context of this server could match, each once
 */
public record ContextRequest(String export, boolean empty, Set<String> queries) {
  /** The longest name of a context, in bytes. Longer queries match none. */
  public static final int MAX_NAME_BYTES = 255;

  /** More different queries of one client are refused: they would only take memory. */
  private static final int MAX_QUERIES = 64;

  /**
   * Reads all of {@code data}.
   *
   * @throws ProtocolException if that is no such request
   */
  public static ContextRequest read(ByteBuf data) throws ProtocolException {
    String export = Strings.read(data, Fields.u32(data, "name length"), "export name");
    long count = Fields.u32(data, "number of queries");
    Set<String> queries = new LinkedHashSet<>();
    for (long i = 0; i < count; i++) {
      // Each query takes four bytes at least, so that the data bounds their number.
      long length = Fields.u32(data, "query length");
      String query = readQuery(data, length);
      if (length <= MAX_NAME_BYTES && queries.add(query) && queries.size() > MAX_QUERIES) {
        throw new ProtocolException(
            "queries: more than " + MAX_QUERIES + " different ones (expected: fewer)");
      }
    }
    if (data.isReadable()) {
      throw new ProtocolException("queries: " + data.readableBytes() + " bytes too many");
    }
    return new ContextRequest(export, count == 0, queries);
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
    return queries.contains(context);
  }

  /**
   * Whether a context of this name is asked for, to be listed: by itself, or by what its name
   * begins with up to a colon.
   */
  public boolean lists(String context) {
    return empty
        || names(context)
        || queries.stream().anyMatch(each -> each.endsWith(":") && context.startsWith(each));
  }
}
