package io.filterd.nbd;

import static org.assertj.core.api.Assertions.assertThat;

import io.netty.channel.embedded.EmbeddedChannel;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

final class ClientLogTest {
  private final List<String> lines = new ArrayList<>();
  private long nowNanos = Long.MAX_VALUE - TimeUnit.SECONDS.toNanos(30); // The clock may wrap.
  private final ClientLog log = new ClientLog(2, () -> nowNanos, lines::add);

  @Test
  void namesAConnectionOnce() {
    EmbeddedChannel channel = new EmbeddedChannel();

    log.broke(channel, "a");
    log.broke(channel, "a again");
    log.broke(new EmbeddedChannel(), "b");

    assertThat(lines).containsExactly("a", "b");
  }

  @Test
  void countsWhatItLeavesOut() {
    EmbeddedChannel last = new EmbeddedChannel();
    last.freezeTime();
    for (int i = 0; i < 5; i++) {
      log.broke(i == 2 ? last : new EmbeddedChannel(), "line " + i);
    }
    assertThat(lines).containsExactly("line 0", "line 1");

    pass(last, 59);
    assertThat(lines).hasSize(2);
    pass(last, 1);
    assertThat(lines).hasSize(3).last().isEqualTo("3 more lines about bad clients were left out");

    log.broke(new EmbeddedChannel(), "line 5");
    assertThat(lines).hasSize(4);
  }

  @Test
  void beginsAnewEveryMinute() {
    for (int minute = 0; minute < 3; minute++) {
      log.broke(new EmbeddedChannel(), "a");
      log.broke(new EmbeddedChannel(), "b");
      nowNanos += TimeUnit.SECONDS.toNanos(60);
    }

    assertThat(lines).containsExactly("a", "b", "a", "b", "a", "b");
  }

  private void pass(EmbeddedChannel channel, int seconds) {
    nowNanos += TimeUnit.SECONDS.toNanos(seconds);
    channel.advanceTimeBy(seconds, TimeUnit.SECONDS);
    channel.runScheduledPendingTasks();
  }
}
