package io.filterd.filter.qos;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import org.junit.jupiter.api.Test;

class TokenBucketTest {
  private static final long SECOND = 1_000_000_000;

  @Test
  void letsThroughWhatItHoldsAndOneMore() {
    TokenBucket bucket = TokenBucket.full(10, Duration.ofSeconds(1));
    int through = 0;
    while (bucket.readyNanos() <= 0) {
      bucket = bucket.take(1, 0);
      through++;
    }

    assertThat(through).isEqualTo(11);
    assertThat(bucket.readyNanos()).isEqualTo(SECOND / 10);
  }

  @Test
  void holdsNoMoreThanTheBurstHoweverLongItIsIdle() {
    TokenBucket bucket = TokenBucket.full(10, Duration.ofSeconds(1)).take(100, 0);

    assertThat(bucket.readyNanos()).isEqualTo(9 * SECOND);
    bucket = bucket.take(20, 1000 * SECOND);
    assertThat(bucket.readyNanos()).isEqualTo(1001 * SECOND);
  }

  @Test
  void losesNothingOfManySmallRequests() {
    TokenBucket bucket = TokenBucket.full(3, Duration.ofSeconds(1));
    TokenBucket fast = TokenBucket.full(7_000_000_000L, Duration.ofSeconds(1));
    for (int i = 0; i < 700_000; i++) {
      bucket = bucket.take(1, 0);
      fast = fast.take(1, 0);
    }

    assertThat(bucket.fullNanos()).isEqualTo(700_000 * SECOND / 3);
    assertThat(fast.fullNanos()).isEqualTo(100_000);
  }

  @Test
  void isAsBeforeWhenWhatWasTakenIsGivenBack() {
    TokenBucket bucket = TokenBucket.full(3, Duration.ofSeconds(1)).take(17, 0);

    assertThat(bucket.take(5, 0).giveBack(5)).isEqualTo(bucket);
    assertThat(bucket.take(5, 0).take(9, 0).giveBack(5)).isEqualTo(bucket.take(9, 0));
  }

  @Test
  void isAlwaysReadyWithoutALimit() {
    TokenBucket bucket = TokenBucket.full(0, Duration.ofSeconds(1));

    assertThat(bucket.take(1L << 32, 0)).isEqualTo(bucket);
    assertThat(bucket.giveBack(1L << 32)).isEqualTo(bucket);
    assertThat(bucket.readyNanos()).isLessThan(0);
  }

  @Test
  void owesWithoutOverflowing() {
    TokenBucket bucket = TokenBucket.full(1, Duration.ofMinutes(10));
    for (int i = 0; i < 1000; i++) {
      bucket = bucket.take(1L << 32, bucket.readyNanos());
    }

    assertThat(bucket.readyNanos()).isGreaterThan(Duration.ofDays(365 * 100).toNanos());
  }
}
