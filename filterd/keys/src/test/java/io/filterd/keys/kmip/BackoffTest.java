package io.filterd.keys.kmip;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class BackoffTest {
  private long now = 1_000;
  private double random;
  private final Backoff backoff = new Backoff(() -> now, () -> random);

  @Test
  void letsAServerBeTriedThatNeverFailed() {
    assertThat(backoff.remaining()).isZero();
  }

  @Test
  void waitsLongerEachTimeUpToFourSeconds() {
    random = 0.999_999;
    List<Long> waits = new ArrayList<>();
    for (int i = 0; i < 6; i++) {
      backoff.failed();
      waits.add(Math.round(backoff.remaining().toNanos() / 1e6));
    }
    assertThat(waits).containsExactly(500L, 1000L, 2000L, 4000L, 4000L, 4000L);
  }

  @Test
  void spreadsOverTheSecondHalf() {
    random = 0;
    backoff.failed();
    assertThat(backoff.remaining()).isEqualTo(Duration.ofMillis(250));
  }

  @Test
  void endsWithTimeOrSuccess() {
    backoff.failed();
    now += Duration.ofMillis(500).toNanos();
    assertThat(backoff.remaining()).isZero();

    backoff.failed();
    backoff.worked();
    assertThat(backoff.remaining()).isZero();
    backoff.failed();
    assertThat(backoff.remaining()).isLessThanOrEqualTo(Duration.ofMillis(500));
  }
}
