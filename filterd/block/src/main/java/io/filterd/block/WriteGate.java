package io.filterd.block;

import io.filterd.block.BlockException.Reason;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;

/**
 * Lets the changes of a device through, or refuses them with {@link Reason#READ_ONLY}, and says
 * when the last one is over that was let through. Everything else goes through always, and {@link
 * #info} is that of the device below: the gate may open again. Safe for many threads.
 */
public final class WriteGate extends IoFilter {
  private static final int PLACES = Integer.MAX_VALUE;

  /** Every change has one place while it is below, who waits for their end takes all. */
  private final Semaphore places = new Semaphore(PLACES);

  private volatile boolean shut;

  /** An open gate; takes {@code below} over. */
  public WriteGate(BlockDevice below) {
    super(below);
  }

  /**
   * Refuses changes from now on, and waits for those that are on their way.
   *
   * @return whether they were over in time: then no change reaches the device any more. Changes are
   *     refused in either case.
   */
  public boolean shut(Duration patience) throws InterruptedException {
    shut = true;
    if (!places.tryAcquire(PLACES, patience.toNanos(), TimeUnit.NANOSECONDS)) {
      return false;
    }
    places.release(PLACES);
    return true;
  }

  /** Lets changes through again. Not while another thread is in {@link #shut}. */
  public void open() {
    shut = false;
  }

  /** Whether changes are refused. */
  public boolean isShut() {
    return shut;
  }

  private void enter() throws BlockException {
    if (!shut && places.tryAcquire()) {
      // Either this sees that the gate is shut, or who shuts it waits for this.
      if (!shut) {
        return;
      }
      places.release();
    }
    throw new BlockException(Reason.READ_ONLY, "the export is read-only");
  }

  @Override
  public DeviceInfo info() {
    return below.info();
  }

  @Override
  public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
    return below.read(offset, target, blocking);
  }

  @Override
  public Completion write(long offset, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    enter();
    try {
      return below.write(offset, source, durability, blocking);
    } finally {
      places.release();
    }
  }

  @Override
  public Completion zero(
      long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
      throws BlockException {
    enter();
    try {
      return below.zero(offset, length, mode, durability, blocking);
    } finally {
      places.release();
    }
  }

  @Override
  public Completion trim(long offset, long length, Durability durability, Blocking blocking)
      throws BlockException {
    enter();
    try {
      return below.trim(offset, length, durability, blocking);
    } finally {
      places.release();
    }
  }

  @Override
  public Completion flush(Blocking blocking) throws BlockException {
    return below.flush(blocking);
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
    return below.extents(offset, length, blocking);
  }
}
