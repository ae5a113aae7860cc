package io.filterd.block;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

class RangeLockTest {
  private final RangeLock lock = new RangeLock(4096);

  @Test
  void sharesARangeBetweenReaders() {
    assertThat(lock.lockShared(0, 8192, Blocking.FORBIDDEN)).isTrue();
    assertThat(lock.lockShared(4096, 4096, Blocking.FORBIDDEN)).isTrue();
    assertThat(lock.lockExclusive(8191, 1, Blocking.FORBIDDEN)).isFalse();

    lock.unlockShared(0, 8192);
    lock.unlockShared(4096, 4096);

    assertThat(lock.lockExclusive(8191, 1, Blocking.FORBIDDEN)).isTrue();
  }

  @Test
  void givesBackWhatItTookWhenItGivesUp() {
    assertThat(lock.lockExclusive(40960, 4096, Blocking.FORBIDDEN)).isTrue();
    assertThat(lock.lockExclusive(0, 65536, Blocking.FORBIDDEN)).isFalse();
    assertThat(lock.lockShared(0, 65536, Blocking.FORBIDDEN)).isFalse();

    lock.unlockExclusive(40960, 4096);

    assertThat(lock.lockExclusive(0, 65536, Blocking.FORBIDDEN)).isTrue();
  }

  @Test
  void coversRangesThatWrapRoundTheStripes() {
    assertThat(lock.lockExclusive(62L * 4096, 4L * 4096, Blocking.FORBIDDEN)).isTrue();
    assertThat(lock.lockShared(65L * 4096, 1, Blocking.FORBIDDEN)).isFalse();
    assertThat(lock.lockShared(67L * 4096, 1, Blocking.FORBIDDEN)).isTrue();
  }

  @Test
  void locksEverythingForAVeryLongRange() {
    assertThat(lock.lockExclusive(0, 1L << 50, Blocking.FORBIDDEN)).isTrue();
    assertThat(lock.lockShared(12345, 1, Blocking.FORBIDDEN)).isFalse();

    lock.unlockExclusive(0, 1L << 50);

    assertThat(lock.lockShared(12345, 1, Blocking.FORBIDDEN)).isTrue();
  }

  @Test
  @Timeout(60)
  void letsAnExclusiveLockInBeforeLaterSharedOnes() throws InterruptedException {
    lock.lockShared(0, 4096, Blocking.ALLOWED);
    Thread exclusive =
        Thread.ofPlatform()
            .start(
                () -> {
                  lock.lockExclusive(0, 8192, Blocking.ALLOWED);
                  lock.unlockExclusive(0, 8192);
                });

    // It waits once nobody else is let in.
    await().until(() -> !triesShared());
    Thread shared =
        Thread.ofPlatform()
            .start(
                () -> {
                  lock.lockShared(0, 4096, Blocking.ALLOWED);
                  lock.unlockShared(0, 4096);
                });
    lock.unlockShared(0, 4096);

    exclusive.join();
    shared.join();
    assertThat(lock.lockExclusive(0, 8192, Blocking.FORBIDDEN)).isTrue();
  }

  private boolean triesShared() {
    boolean locked = lock.lockShared(0, 4096, Blocking.FORBIDDEN);
    if (locked) {
      lock.unlockShared(0, 4096);
    }
    return locked;
  }

  @Test
  void refusesUnitsThatAreNoPowerOfTwo() {
    for (int unitBytes : new int[] {0, -1, 3, Integer.MIN_VALUE}) {
      assertThatThrownBy(() -> new RangeLock(unitBytes))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage("unitBytes: " + unitBytes + " (expected: a power of two)");
    }
  }
}
