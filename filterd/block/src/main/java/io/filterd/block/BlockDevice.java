package io.filterd.block;

import java.nio.ByteBuffer;

/**
 * A fixed-size array of bytes with random access: a disk image, a link of a snapshot chain, or a
 * filter on top of one.
 *
 * <p><b>Units.</b> Every {@code offset} and {@code length} is in bytes from the start of this
 * device.
 *
 * <p><b>Ranges.</b> A caller passes only non-empty ranges inside {@code [0, info().sizeBytes())}
 * that start and end at a multiple of {@code info().blockSizes().minimum()}, or end at the end of
 * the device. Reads and writes are at most {@code info().blockSizes().maximum()} long; the other
 * operations may name any length. {@link CheckedDevice} enforces this at the edge; an
 * implementation may rely on it.
 *
 * <p><b>Buffers</b> are direct. An operation uses the buffer's bytes from position to limit, and
 * leaves position at limit when it is done. When it fails or {@link Completion#WOULD_BLOCK would
 * block}, position and limit are as before. The buffer belongs to the caller again when the call
 * returns. {@code write} never changes the bytes of {@code source}.
 *
 * <p><b>Blocking.</b> Every operation takes the caller's word on whether it may block. With {@link
 * Blocking#FORBIDDEN} it either finishes from memory at once, or answers {@code WOULD_BLOCK} and
 * leaves no trace: the device is as if the call had not been made (the bytes of {@code target} are
 * the one exception). A device that knows nothing of it answers {@code WOULD_BLOCK} always and is
 * right, only slower. With {@link Blocking#ALLOWED} it never answers {@code WOULD_BLOCK}.
 *
 * <p><b>Holes.</b> What was never written, was zeroed or was trimmed reads as zeros. A read says
 * which parts of its range are {@link ExtentKind#DATA}, {@link ExtentKind#ZERO} or {@link
 * ExtentKind#ABSENT}, from the same lookup that found the data.
 *
 * <p><b>Threads.</b> All data operations may be called from many threads at once. Overlapping
 * concurrent writes leave either one's bytes, per minimum block. {@code close} is called once,
 * after the last operation returned.
 *
 * <p><b>Durability.</b> A write, zero or trim is durable when a {@link #flush} that started after
 * it returned has returned, or when it was made with {@link Durability#DURABLE} and has returned.
 * After a crash, what was not durable reads, per minimum block, as its old or its new content, or
 * as zeros where it was never written.
 *
 * <p><b>No defaults.</b> None of these methods will ever have a default body: an operation added
 * later must break every filter's build, or a filter that transforms data would silently let it
 * through.
 */
public interface BlockDevice extends AutoCloseable {
  /** What this device is. The same answer for as long as the device is open. */
  DeviceInfo info();

  /**
   * Fills {@code target} with the bytes at {@code offset}. Never reads short. Bytes of parts that
   * are {@code ZERO} or {@code ABSENT} are set to zero.
   *
   * @return what the range is made of, covering exactly the bytes read, or {@link
   *     Extents#WOULD_BLOCK}
   */
  Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException;

  /** Stores all of {@code source} at {@code offset}. */
  Completion write(long offset, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException;

  /**
   * Makes the range read as zeros.
   *
   * @throws BlockException with {@link BlockException.Reason#NOT_SUPPORTED}, and without any
   *     change, when {@code mode} asks for speed and this device can't zero faster than by writing
   */
  Completion zero(long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
      throws BlockException;

  /**
   * Says the range's contents are no longer needed, and gives back the space of what can be given
   * back. The range reads as zeros afterwards if the device {@link Capability#TRIM can trim}; else
   * it is unchanged. Never needs new space.
   */
  Completion trim(long offset, long length, Durability durability, Blocking blocking)
      throws BlockException;

  /** Makes every completed write, zero and trim durable. */
  Completion flush(Blocking blocking) throws BlockException;

  /**
   * Says what the range is made of, without its bytes.
   *
   * @return extents from {@code offset} on, never more than {@code length} bytes and never none;
   *     they may end early, so that an answer costs bounded time and memory; or {@link
   *     Extents#WOULD_BLOCK}
   */
  Extents extents(long offset, long length, Blocking blocking) throws BlockException;

  /** Flushes, then releases this device and everything below it. */
  @Override
  void close() throws BlockException;
}
