package io.filterd.nbd.wire;

/** How replies look, and with them requests: what a client has negotiated. */
public enum ReplyMode {
  /** Simple replies (proto.md, "Simple reply message"). */
  SIMPLE(Protocol.SIMPLE_REPLY_BYTES),

  /** Structured replies to what returns data (proto.md, "Structured reply chunk message"). */
  STRUCTURED(20 + Long.BYTES),

  /** Chunks with extended headers only, and requests of 64-bit lengths (extension-ext-header). */
  EXTENDED(32 + Long.BYTES);

  private final int readHeaderBytes;

  ReplyMode(int readHeaderBytes) {
    this.readHeaderBytes = readHeaderBytes;
  }

  /** The bytes before the data of a read that is answered in one piece. */
  public int readHeaderBytes() {
    return readHeaderBytes;
  }

  /** The bytes of a request's header. */
  public int requestBytes() {
    return this == EXTENDED ? 32 : 28;
  }

  /** Whether replies are made of chunks. */
  public boolean chunks() {
    return this != SIMPLE;
  }
}
