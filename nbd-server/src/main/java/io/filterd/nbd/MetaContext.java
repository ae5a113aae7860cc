package io.filterd.nbd;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;

/**
 * Something that can be said of every range of an export, beside its content: a metadata context
 * (proto.md, "Metadata querying"). {@code base:allocation} is there for every export; an {@link
 * Exports.Lease} may offer more. For many threads.
 */
public interface MetaContext {
  /**
   * The name, {@code NAMESPACE:LEAF}, at most 255 bytes: for example {@code qemu:dirty-bitmap:b0}.
   */
  String name();

  /**
   * Describes a range, from its start on, by consecutive parts; may end early, but not before the
   * first part. With {@link Blocking#FORBIDDEN} it answers from memory or not at all.
   *
   * @param offset within the export, in bytes
   * @param lengthBytes at least 1
   * @param parts takes the parts
   * @return false if this would have to block; what was added does not count then
   */
  boolean describe(long offset, long lengthBytes, Parts parts, Blocking blocking)
      throws BlockException;

  /** Takes the parts of a range. For the time of one call of {@link #describe}. */
  interface Parts {
    /**
     * Takes the next part. Neighbours of the same flags become one.
     *
     * @param partBytes at least 1; what is beyond the range is left out
     * @param flags what is said of it, in the context's own terms
     * @return whether more is wanted
     */
    boolean add(long partBytes, int flags);
  }
}
