package io.filterd.nbd.wire;

import io.netty.buffer.ByteBuf;
import java.util.Set;
import java.util.TreeSet;

/**
 * The data of NBD_OPT_INFO and NBD_OPT_GO.
 *
 * @param name the export's name; empty for the default export
 * @param types the types of information that are asked for, known or not
 */
public record InfoRequest(String name, Set<Integer> types) {
  /** Copies the set. */
  public InfoRequest {
    types = Set.copyOf(types);
  }

  /**
   * Reads all of {@code data}.
   *
   * @throws ProtocolException if that is no such request
   */
  public static InfoRequest read(ByteBuf data) throws ProtocolException {
    String name = Strings.read(data, Fields.u32(data, "name length"), "export name");
    int count = Fields.u16(data, "number of information requests");
    if (data.readableBytes() != count * Short.BYTES) {
      throw new ProtocolException(
          "information requests: " + data.readableBytes() + " bytes (expected: 2 x " + count + ")");
    }
    Set<Integer> types = new TreeSet<>();
    for (int i = 0; i < count; i++) {
      types.add(data.readUnsignedShort());
    }
    return new InfoRequest(name, types);
  }

  /** Whether information of this type is asked for. */
  public boolean asksFor(int type) {
    return types.contains(type);
  }
}
