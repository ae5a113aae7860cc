package io.filterd.vmdk;

import io.filterd.block.BlockException;
import java.util.BitSet;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.ReentrantLock;

/**
 * Makes the changes of a sparse extent durable, by <em>commits</em>: sync, so that the grains are;
 * write the changed tables; sync; and then the places that were given up are free.
 *
 * <p>A commit is made when somebody wants to have changes durable, or when what waits for one takes
 * much memory or space. Not for the number of new grains: their data is nowhere but in the page
 * cache, as that of a flat extent is, and a sync in the midst of a long copy makes it wait for the
 * storage.
 */
final class SparseCommits {
  /** These take 8 MiB of memory that can't be had back, and as much again during a commit. */
  private static final int CHANGED_LIMIT_TABLES = 4096;

  private static final int GIVEN_UP_LIMIT_GRAINS = 4096;

  private final ExtentFile file;
  private final GrainPlaces places;

  /** One commit at a time. Held by growth too, which changes the tables. */
  final ReentrantLock lock = new ReentrantLock();

  private volatile GrainTables tables;
  private volatile TableWriter writer;

  /** Counts completed changes. */
  private final AtomicLong changes = new AtomicLong();

  /** So many of the changes are durable. Changed under the lock. */
  private volatile long durableChanges;

  SparseCommits(ExtentFile file, GrainPlaces places, GrainTables tables, TableWriter writer) {
    this.file = file;
    this.places = places;
    this.tables = tables;
    this.writer = writer;
  }

  /** From now on the tables are these. The caller holds {@link #lock}, and nothing is changed. */
  void use(GrainTables newTables, TableWriter newWriter) {
    tables = newTables;
    writer = newWriter;
  }

  /** The tables in the file. */
  TableWriter writer() {
    return writer;
  }

  /** Counts a change that is complete; its number. */
  long changed() {
    return changes.incrementAndGet();
  }

  /** The number of the last complete change. */
  long lastChange() {
    return changes.get();
  }

  boolean isDurable(long number) {
    return durableChanges >= number;
  }

  /**
   * Makes so many of the changes durable. Of those who wait while one commit runs, the first makes
   * the next, for all.
   */
  void makeDurable(long number) throws BlockException {
    lock.lock();
    try {
      if (!isDurable(number)) {
        commit();
      }
    } finally {
      lock.unlock();
    }
  }

  /** Commits, if too much waits for it. */
  void boundPending() throws BlockException {
    if (!isMuchPending()) {
      return;
    }
    lock.lock();
    try {
      if (isMuchPending()) {
        commit();
      }
    } finally {
      lock.unlock();
    }
  }

  private boolean isMuchPending() {
    return tables.changedTables() >= CHANGED_LIMIT_TABLES
        || places.givenUpCount() >= GIVEN_UP_LIMIT_GRAINS;
  }

  /** Makes all that is completed durable. The caller holds {@link #lock}. */
  void commit() throws BlockException {
    long covered = changes.get();
    GrainTables.Snapshot snapshot;
    BitSet free;
    tables.lock.lock();
    try {
      snapshot = tables.takeChanges();
      free = places.takeGivenUp();
    } finally {
      tables.lock.unlock();
    }
    boolean written = false;
    try {
      file.sync();
      if (snapshot.indexes().length > 0) {
        writer.write(snapshot);
        file.sync();
      }
      written = true;
    } finally {
      if (!written) {
        resume(free);
      }
    }
    tables.lock.lock();
    try {
      tables.written();
    } finally {
      tables.lock.unlock();
    }
    durableChanges = covered;
    places.reuse(free);
  }

  /** Makes what a failed commit had taken on the business of the next one. */
  private void resume(BitSet free) {
    tables.lock.lock();
    try {
      tables.notWritten();
      places.giveUp(free);
    } finally {
      tables.lock.unlock();
    }
  }
}
