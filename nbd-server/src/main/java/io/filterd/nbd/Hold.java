package io.filterd.nbd;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * One session's hold on an export, from asking for it until its lease is closed. Whoever ends an
 * export finds every use of it here, in whatever state. Safe for many threads.
 */
final class Hold {
  private final String asked;
  private final CountDownLatch settled = new CountDownLatch(1);
  private final CountDownLatch ended = new CountDownLatch(1);
  private volatile Exports.@Nullable Lease lease;
  private volatile List<MetaContext> contexts = List.of();
  private volatile @Nullable Transmission user;
  private volatile boolean revoked;
  private volatile boolean place;

  /** A session begins to open the export of this name. */
  Hold(String asked) {
    this.asked = asked;
  }

  /** The export is open. */
  void opened(Exports.Lease opened) {
    List<MetaContext> all = new ArrayList<>();
    all.add(new AllocationContext(opened.device()));
    all.addAll(opened.contexts());
    if (all.size() > ContextFilter.MAX_CONTEXTS) {
      throw new IllegalStateException(
          "contexts of " + asked + ": " + all.size() + " (expected: <= 32)");
    }
    contexts = List.copyOf(all);
    lease = opened;
    settled.countDown();
  }

  /** There is no lease, or no more: it was refused, or has been closed. */
  void ended() {
    ended.countDown();
    settled.countDown();
  }

  /** The lease, once it is open. */
  Exports.Lease lease() {
    Exports.Lease opened = lease;
    if (opened == null) {
      throw new IllegalStateException("export " + asked + ": not open");
    }
    return opened;
  }

  /** What can be said of the export's ranges, once it is open. */
  List<MetaContext> contexts() {
    return contexts;
  }

  /** The session has one of the export's places. */
  void tookPlace() {
    place = true;
  }

  boolean hasPlace() {
    return place;
  }

  /** A client uses the export from now on. */
  void usedBy(Transmission transmission) {
    user = transmission;
    // Either this sees that the hold was revoked, or revoke() sees the user.
    if (revoked) {
      transmission.shutDown();
    }
  }

  /** The client that uses the export, if it has got so far. */
  @Nullable Transmission user() {
    return user;
  }

  /** What became of revoking. */
  enum Revocation {
    /** The session is on that export, and will end. */
    REVOKED,
    /** It is not. */
    OTHER_EXPORT,
    /** It took too long to find out. */
    UNKNOWN
  }

  /** Has the session end, if it is one on this export; waits until that is known. */
  Revocation revoke(String export, long timeoutNanos) throws InterruptedException {
    // The empty name may stand for any export.
    if (!asked.isEmpty() && !asked.equals(export) && lease == null) {
      return Revocation.OTHER_EXPORT;
    }
    if (!settled.await(timeoutNanos, TimeUnit.NANOSECONDS)) {
      return Revocation.UNKNOWN;
    }
    Exports.Lease opened = lease;
    if (opened == null || !opened.name().equals(export)) {
      return Revocation.OTHER_EXPORT;
    }
    revoke();
    return Revocation.REVOKED;
  }

  /** Has the session end: what is in flight is finished and answered, nothing new is begun. */
  void revoke() {
    revoked = true;
    Transmission transmission = user;
    if (transmission != null) {
      transmission.shutDown();
    }
  }

  /** Waits until there is no lease any more; false if that takes longer. */
  boolean awaitEnd(long timeoutNanos) throws InterruptedException {
    return ended.await(timeoutNanos, TimeUnit.NANOSECONDS);
  }
}
