package io.filterd.block;

/** What a device can do, or is. */
public enum Capability {
  /** Takes writes. Without it every change fails with {@code READ_ONLY}. */
  WRITE,
  /** Flush makes completed writes durable. Without it there is nothing that needs a flush. */
  FLUSH,
  /** {@link Durability#DURABLE} is native: cheaper than a flush, or the same. */
  DURABLE_WRITE,
  /** Trim gives space back; what was trimmed reads as zeros. */
  TRIM,
  /** Zero is native for whole allocation units: no zeros are sent to the medium. */
  ZERO,
  /** Every zero, of any range, is faster than writing: the fast modes never fail. */
  FAST_ZERO,
  /**
   * Whole allocation units that were never written, were zeroed (unless {@link ZeroMode#ALLOCATE})
   * or were trimmed are reported as {@code ZERO} or {@code ABSENT}, by reads too, for as long as
   * nothing is written to them. A cipher can let such ranges through: it knows not to decipher
   * them.
   */
  TRACKS_ZEROS,
  /**
   * Whole allocation units that were zeroed (unless {@link ZeroMode#ALLOCATE}) or trimmed are
   * remembered as zeros: they are reported as {@code ZERO}, never as {@code ABSENT}, for as long as
   * nothing is written to them. So a link of a chain with it can zero and trim what its parents
   * hold. Has {@link #TRACKS_ZEROS} too.
   */
  MARKS_ZEROS,
  /**
   * A write may cover a part of an allocation unit that holds no data; the rest of the unit reads
   * as zeros. Without it such a unit is written whole, first.
   */
  PARTIAL_ALLOCATION,
  /** A flush by one connection covers the completed writes of all. */
  MULTIPLE_CONNECTIONS,
  /** Seeks cost (NBD_FLAG_ROTATIONAL). */
  ROTATIONAL
}
