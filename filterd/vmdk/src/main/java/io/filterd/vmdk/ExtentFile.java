package io.filterd.vmdk;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import java.nio.ByteBuffer;

/**
 * The file of an extent, as far as its mapping needs it. Exists so that tests can stand between a
 * mapping and its file: record the order of its writes, and cut them off. Many threads may use it
 * at once. Buffers are direct; what a failed or blocked call did to a buffer's position is undone.
 */
interface ExtentFile extends AutoCloseable {
  /** The file's name, for messages. */
  String name();

  long sizeBytes() throws BlockException;

  /** Fills {@code target}; false if that would block. The file's end in the range is an error. */
  boolean read(long position, ByteBuffer target, Blocking blocking) throws BlockException;

  /** Stores all of {@code source}, beyond the end if need be; false if that would block. */
  boolean write(long position, ByteBuffer source, Blocking blocking) throws BlockException;

  /**
   * Makes what was written durable. Once this has failed nobody knows what is on the disk, so every
   * later call that changes or syncs fails too.
   */
  void sync() throws BlockException;

  void truncate(long sizeBytes) throws BlockException;

  /** Makes a range inside the file zeros with space of their own: to write there needs no more. */
  void allocateZeros(long position, long length) throws BlockException;

  /**
   * Where the data at or after {@code position} begins; {@code end} if there is none before it. May
   * name holes as data, never data as a hole.
   */
  long nextData(long position, long end) throws BlockException;

  /** Where the hole at or after {@code position} begins; {@code end} if there is none before it. */
  long nextHole(long position, long end) throws BlockException;

  /**
   * Gives back the space of a range, which reads as zeros then, where the file system can.
   *
   * @return whether it was done
   */
  boolean punchHole(long position, long length) throws BlockException;

  @Override
  void close() throws BlockException;
}
