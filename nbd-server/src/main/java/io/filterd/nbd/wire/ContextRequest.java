package io.filterd.nbd.wire;

import io.netty.buffer.ByteBuf;

/**
 * The data of NBD_OPT_LIST_META_CONTEXT and NBD_OPT_SET_META_CONTEXT. Of the queries only what this
 * server knows is kept, so that many of them take no memory.
 *
 * @param export the export's name; empty for the default export
 * @param empty whether there was no query
 * @param baseNamespace whether all contexts of {@code base:} are asked for
 * @param baseAllocation whether {@code base:allocation} is asked for
 */
public record ContextRequest(
    String export, boolean empty, boolean baseNamespace, boolean baseAllocation) {
  /**
   * Reads all of {@code data}.
   *
   * @throws ProtocolException if that is no such request
   */
  public static ContextRequest read(ByteBuf data) throws ProtocolException {
    String export = Strings.read(data, Fields.u32(data, "name length"), "export name");
    long count = Fields.u32(data, "number of queries");
    boolean baseNamespace = false;
    boolean baseAllocation = false;
    for (long i = 0; i < count; i++) {
      // Each query takes four bytes at least, so that the data bounds their number.
      String query = readQuery(data);
      baseNamespace |= query.equals(Protocol.BASE_NAMESPACE);
      baseAllocation |= query.equals(Protocol.BASE_ALLOCATION);
    }
    if (data.isReadable()) {
      throw new ProtocolException("queries: " + data.readableBytes() + " bytes too many");
    }
    return new ContextRequest(export, count == 0, baseNamespace, baseAllocation);
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
