package io.filterd.nbd;

import io.filterd.nbd.wire.Replies;
import io.filterd.nbd.wire.RequestHeader;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;

/**
 * Writes what one context says of a range as a chunk of a reply. Parts that look alike are joined,
 * so that neighbours differ. Used again and again; for one thread at a time.
 */
final class StatusParts implements MetaContext.Parts {
  private final Replies replies;
  private ByteBuf out = Unpooled.EMPTY_BUFFER;
  private int start;
  private long rest;
  private int most;
  private int count;
  private long lastBytes;
  private int lastFlags;

  /** For replies of this kind. */
  StatusParts(Replies replies) {
    this.replies = replies;
  }

  /**
   * Begins a chunk.
   *
   * @param last whether it is the last one of its reply
   * @param id the context's number
   * @param mostParts where the description is cut; the client asks again from there
   */
  void begin(ByteBuf reply, boolean last, RequestHeader request, int id, int mostParts) {
    out = reply;
    start = reply.writerIndex();
    rest = request.length;
    most = mostParts;
    count = 0;
    lastBytes = 0;
    replies.statusHeader(reply, last, request, id);
  }

  @Override
  public boolean add(long partBytes, int flags) {
    if (partBytes < 1) {
      throw new IllegalArgumentException("partBytes: " + partBytes + " (expected: >= 1)");
    }
    if (rest == 0) {
      return false;
    }
    long bytes = Math.min(partBytes, rest);
    if (lastBytes > 0 && flags == lastFlags) {
      lastBytes += bytes;
    } else {
      if (lastBytes > 0) {
        write();
      }
      if (count == most) {
        rest = 0;
        return false;
      }
      lastBytes = bytes;
      lastFlags = flags;
    }
    rest -= bytes;
    return rest > 0;
  }

  private void write() {
    replies.statusPart(out, lastBytes, lastFlags);
    count++;
    lastBytes = 0;
  }

  /** Ends the chunk. */
  void end() {
    if (lastBytes > 0) {
      write();
    }
    if (count == 0) {
      throw new IllegalStateException("a metadata context said nothing of a range");
    }
    replies.statusEnd(out, start, count);
    out = Unpooled.EMPTY_BUFFER;
  }
}
