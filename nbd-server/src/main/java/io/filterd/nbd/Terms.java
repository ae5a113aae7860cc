package io.filterd.nbd;

import static io.filterd.nbd.wire.Protocol.NBD_CMD_BLOCK_STATUS;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_CACHE;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLAG_DF;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLAG_FAST_ZERO;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLAG_FUA;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLAG_NO_HOLE;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLAG_PAYLOAD_LEN;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLAG_REQ_ONE;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLUSH;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_READ;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_TRIM;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_WRITE;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_WRITE_ZEROES;
import static io.filterd.nbd.wire.Protocol.NBD_EINVAL;
import static io.filterd.nbd.wire.Protocol.NBD_ENOSPC;
import static io.filterd.nbd.wire.Protocol.NBD_EOVERFLOW;
import static io.filterd.nbd.wire.Protocol.NBD_EPERM;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_BLOCK_STAT_PAYLOAD;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_CAN_MULTI_CONN;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_HAS_FLAGS;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_READ_ONLY;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_ROTATIONAL;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_SEND_CACHE;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_SEND_DF;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_SEND_FAST_ZERO;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_SEND_FLUSH;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_SEND_FUA;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_SEND_TRIM;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_SEND_WRITE_ZEROES;

import io.filterd.block.Capability;
import io.filterd.block.DeviceInfo;
import io.filterd.nbd.wire.ReplyMode;
import io.filterd.nbd.wire.RequestHeader;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What a client was told about its export, and may therefore ask. The only place that judges a
 * client's numbers in the transmission phase: what {@link #refusal} lets through is within the
 * contract of the device. Immutable.
 */
final class Terms {
  /** Why a change of an export is refused that may only be read. */
  static final Refusal READ_ONLY = new Refusal(NBD_EPERM, "the export is read-only");

  private final DeviceInfo info;
  private final ReplyMode mode;
  private final List<ChosenContext> contexts;
  private final int flags;
  private final long alignmentMask;
  private final int maximumBytes;
  private final int deviceMaximumBytes;

  /**
   * Terms for one client.
   *
   * @param readOnly whether it may only read, whatever the device can do
   * @param mode how it is answered
   * @param contexts the metadata contexts that it has chosen
   * @param maxPayloadBytes the most this server takes in one request
   */
  Terms(
      DeviceInfo info,
      boolean readOnly,
      ReplyMode mode,
      List<ChosenContext> contexts,
      int maxPayloadBytes) {
    this.info = info;
    this.mode = mode;
    this.contexts = List.copyOf(contexts);
    this.flags =
        transmissionFlags(info, readOnly, mode)
            | (mode == ReplyMode.EXTENDED && !contexts.isEmpty() ? NBD_FLAG_BLOCK_STAT_PAYLOAD : 0);
    int minimum = info.blockSizes().minimum();
    this.alignmentMask = minimum - 1L;
    this.maximumBytes = maxPayloadBytes / minimum * minimum;
    this.deviceMaximumBytes = info.blockSizes().maximum() / minimum * minimum;
  }

  private static int transmissionFlags(DeviceInfo info, boolean readOnly, ReplyMode mode) {
    boolean writable = !readOnly && info.can(Capability.WRITE);
    int flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_CACHE;
    if (writable) {
      // A device always honours durability, and refuses fast zeroing where it is not fast.
      flags |= NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_SEND_FAST_ZERO;
      flags |= info.can(Capability.TRIM) ? NBD_FLAG_SEND_TRIM : 0;
    } else {
      flags |= NBD_FLAG_READ_ONLY;
    }
    flags |= info.can(Capability.FLUSH) ? NBD_FLAG_SEND_FLUSH : 0;
    flags |= mode.chunks() ? NBD_FLAG_SEND_DF : 0;
    flags |= info.can(Capability.MULTIPLE_CONNECTIONS) ? NBD_FLAG_CAN_MULTI_CONN : 0;
    flags |= info.can(Capability.ROTATIONAL) ? NBD_FLAG_ROTATIONAL : 0;
    return flags;
  }

  /** The transmission flags. */
  int flags() {
    return flags;
  }

  /** The size of the export, in bytes. */
  long sizeBytes() {
    return info.sizeBytes();
  }

  int minimumBlockBytes() {
    return info.blockSizes().minimum();
  }

  int preferredBlockBytes() {
    return info.blockSizes().preferred();
  }

  /** The longest read or write: a multiple of the minimum block. */
  int maximumBlockBytes() {
    return maximumBytes;
  }

  /** The longest that the device takes at once: a multiple of the minimum block. */
  int deviceMaximumBytes() {
    return deviceMaximumBytes;
  }

  boolean readOnly() {
    return (flags & NBD_FLAG_READ_ONLY) != 0;
  }

  ReplyMode mode() {
    return mode;
  }

  /** The metadata contexts that block status is about. */
  List<ChosenContext> contexts() {
    return contexts;
  }

  /** Why this request is refused, or null if it may be tried. */
  @Nullable Refusal refusal(RequestHeader request) {
    int allowedFlags;
    switch (request.command) {
      case NBD_CMD_READ -> allowedFlags = mode.chunks() ? NBD_CMD_FLAG_DF : 0;
      case NBD_CMD_WRITE ->
          allowedFlags = mode == ReplyMode.EXTENDED ? NBD_CMD_FLAG_PAYLOAD_LEN : 0;
      case NBD_CMD_FLUSH, NBD_CMD_TRIM, NBD_CMD_CACHE -> allowedFlags = 0;
      case NBD_CMD_WRITE_ZEROES -> allowedFlags = NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO;
      case NBD_CMD_BLOCK_STATUS ->
          allowedFlags =
              NBD_CMD_FLAG_REQ_ONE
                  | (offers(NBD_FLAG_BLOCK_STAT_PAYLOAD) ? NBD_CMD_FLAG_PAYLOAD_LEN : 0);
      default -> {
        return new Refusal(NBD_EINVAL, "command: " + request.command + " (expected: a known one)");
      }
    }
    if (readOnly() && changes(request.command)) {
      return READ_ONLY;
    }
    // FUA may stand on every command, once it was offered (proto.md, "Command flags").
    allowedFlags |= offers(NBD_FLAG_SEND_FUA) ? NBD_CMD_FLAG_FUA : 0;
    int unknown = request.flags & ~allowedFlags;
    if (unknown != 0) {
      return new Refusal(
          NBD_EINVAL, "command flags: 0x" + Integer.toHexString(unknown) + " not allowed here");
    }
    return switch (request.command) {
      case NBD_CMD_FLUSH ->
          // Its offset and length are reserved.
          offers(NBD_FLAG_SEND_FLUSH)
              ? null
              : new Refusal(NBD_EINVAL, "flush was not offered for this export");
      case NBD_CMD_TRIM ->
          offers(NBD_FLAG_SEND_TRIM)
              ? rangeRefusal(request)
              : new Refusal(NBD_EINVAL, "trim was not offered for this export");
      case NBD_CMD_BLOCK_STATUS -> {
        if (contexts.isEmpty()) {
          yield new Refusal(NBD_EINVAL, "block status without a metadata context");
        }
        yield request.has(NBD_CMD_FLAG_PAYLOAD_LEN)
            ? ContextFilter.refusal(request.length, contexts.size())
            : statusRefusal(request);
      }
      default -> rangeRefusal(request);
    };
  }

  /** Why the range of a block status is refused. */
  @Nullable Refusal statusRefusal(RequestHeader request) {
    return request.length == 0
        ? new Refusal(NBD_EINVAL, "length: 0 (expected: > 0)")
        : rangeRefusal(request);
  }

  private @Nullable Refusal rangeRefusal(RequestHeader request) {
    long size = info.sizeBytes();
    long offset = request.offset;
    long length = request.length;
    if (offset < 0 || length < 0 || offset > size - length) {
      boolean needsSpace =
          request.command == NBD_CMD_WRITE || request.command == NBD_CMD_WRITE_ZEROES;
      return new Refusal(
          needsSpace ? NBD_ENOSPC : NBD_EINVAL,
          "range: "
              + Long.toUnsignedString(offset)
              + "+"
              + Long.toUnsignedString(length)
              + " (expected: inside 0.."
              + size
              + ")");
    }
    long end = offset + length;
    // The last block of an export may be cut short by its end.
    if ((offset & alignmentMask) != 0 || ((end & alignmentMask) != 0 && end != size)) {
      return new Refusal(
          NBD_EINVAL,
          "range: "
              + offset
              + "+"
              + length
              + " (expected: multiples of "
              + (alignmentMask + 1)
              + ")");
    }
    if (transfers(request.command) && length > maximumBytes) {
      return new Refusal(
          request.has(NBD_CMD_FLAG_DF) ? NBD_EOVERFLOW : NBD_EINVAL,
          "length: " + length + " (expected: <= " + maximumBytes + ")");
    }
    return null;
  }

  private boolean offers(int flag) {
    return (flags & flag) != 0;
  }

  /** Whether the command changes the export. */
  static boolean changes(int command) {
    return command == NBD_CMD_WRITE || command == NBD_CMD_WRITE_ZEROES || command == NBD_CMD_TRIM;
  }

  /** Whether data of the request's length goes over the wire. */
  static boolean transfers(int command) {
    return command == NBD_CMD_READ || command == NBD_CMD_WRITE;
  }
}
