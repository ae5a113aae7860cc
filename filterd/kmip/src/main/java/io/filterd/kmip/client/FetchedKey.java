package io.filterd.kmip.client;

import io.filterd.kmip.KeyWrapping;
import io.filterd.kmip.KmipAnswer;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * A key that a server handed out, in native memory. Whoever gets it copies it to where keys are
 * kept and closes this, which wipes it. The memory is not locked: it is for a moment. Has no text
 * but its length. For one thread.
 */
public final class FetchedKey implements AutoCloseable {
  private final Arena arena = Arena.ofShared();
  private final String id;
  private final MemorySegment bytes;
  private final @Nullable KeyWrapping wrapping;

  FetchedKey(KmipAnswer.Key key) {
    this.id = key.id();
    this.wrapping = key.wrapping();
    this.bytes = arena.allocate(key.material().byteSize()).copyFrom(key.material());
  }

  /** The server's name of the key. */
  public String id() {
    return id;
  }

  /** The key's bytes, or its wrapped form; not usable after close. */
  public MemorySegment bytes() {
    return bytes;
  }

  /** How it is wrapped; null if it is the key itself. */
  public @Nullable KeyWrapping wrapping() {
    return wrapping;
  }

  /** Wipes the key. Does nothing the second time. */
  @Override
  public void close() {
    if (bytes.scope().isAlive()) {
      bytes.fill((byte) 0);
      arena.close();
    }
  }

  @Override
  public String toString() {
    return "FetchedKey[id=" + id + ", " + bytes.byteSize() + " bytes]";
  }
}
