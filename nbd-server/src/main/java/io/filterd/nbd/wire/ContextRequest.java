package io.filterd.nbd.wire;

import io.netty.buffer.ByteBuf;
import java.util.ArrayList;
import java.util.List;

/**
 * The data of NBD_OPT_LIST_META_CONTEXT and NBD_OPT_SET_META_CONTEXT.
 *
 * @param export the export's name; empty for the default export
 * @param queries what is asked for, known or not
 */
public record ContextRequest(String export, List<String> queries) {
  /** Copies the list. */
  public ContextRequest {
    queries = List.copyOf(queries);
  }

  /**
   * Reads all of {@code data}.
   *
   * @throws ProtocolException if that is no such request
   */
  public static ContextRequest read(ByteBuf data) throws ProtocolException {
    String export = Strings.read(data, Fields.u32(data, "name length"), "export name");
    long count = Fields.u32(data, "number of queries");
    // Each query takes four bytes at least; that bounds their number by what was received.
    if (count > data.readableBytes() / Integer.BYTES) {
      throw new ProtocolException(
          "number of queries: " + count + " (expected: <= " + data.readableBytes() / 4 + ")");
    }
    List<String> queries = new ArrayList<>();
    for (long i = 0; i < count; i++) {
      queries.add(readQuery(data));
    }
    if (data.isReadable()) {
      throw new ProtocolException("queries: " + data.readableBytes() + " bytes too many");
    }
    return new ContextRequest(export, queries);
  }

  private static String readQuery(ByteBuf data) throws ProtocolException {
    String query = Strings.read(data, Fields.u32(data, "query length"), "query");
    if (query.indexOf(':') < 0) {
      throw new ProtocolException(
          "query: " + Strings.printable(query) + " (expected: NAMESPACE:LEAF)");
    }
    return query;
  }
}
