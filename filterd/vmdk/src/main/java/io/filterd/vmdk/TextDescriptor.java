package io.filterd.vmdk;

import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import java.util.function.UnaryOperator;

/**
 * A descriptor in a file of its own, open for writing. A change replaces the whole file: a crash
 * leaves the old text or the new one. Only the digits of a new content id are written in place,
 * where every mixture of old and new is as good: that needs no space, so that on a full file system
 * a flat disk can still be written, and any disk trimmed.
 */
final class TextDescriptor implements DescriptorStore {
  /** The file of a descriptor. Exists so that tests can stand in for it. */
  interface TextFile extends AutoCloseable {
    /** Replaces the text; when this returns the new one is durable. */
    void replace(byte[] text) throws BlockException;

    /** Overwrites the text with one as long; when this returns the new one is durable. */
    void overwrite(byte[] text) throws BlockException;

    @Override
    void close() throws BlockException;
  }

  private final TextFile file;
  private volatile Descriptor current;
  private boolean hasNewContentId;

  /** The descriptor of an open file, which is taken over. */
  TextDescriptor(TextFile file, Descriptor current) {
    this.file = file;
    this.current = current;
  }

  @Override
  public Descriptor current() {
    return current;
  }

  @Override
  public synchronized void rewrite(UnaryOperator<Descriptor> change) throws BlockException {
    replace(DescriptorStore.checked(current, change.apply(current)));
  }

  @Override
  public synchronized void keepContentId() {
    hasNewContentId = true;
  }

  private void replace(Descriptor next) throws BlockException {
    byte[] text = next.format();
    if (text.length > Descriptor.LARGEST_TEXT_BYTES) {
      throw new BlockException(
          Reason.NOT_SUPPORTED,
          "%s: descriptor: %d bytes (expected: at most %d)"
              .formatted(next.file(), text.length, Descriptor.LARGEST_TEXT_BYTES));
    }
    file.replace(text);
    current = next;
  }

  /** Gives the disk a new content id, once; to be called before the first change of content. */
  synchronized void beginChanges() throws BlockException {
    if (!hasNewContentId) {
      Descriptor next = EmbeddedDescriptor.withNewContentId(current.withoutChangeTracking());
      byte[] text = next.format();
      if (text.length == current.format().length) {
        file.overwrite(text);
        current = next;
      } else {
        replace(next);
      }
      hasNewContentId = true;
    }
  }

  /** Releases the file; nothing is changed any more. */
  void close() throws BlockException {
    file.close();
  }
}
