package io.filterd.daemon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockDeviceContract;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Completion;
import io.filterd.block.DeviceInfo;
import io.filterd.block.Durability;
import io.filterd.block.Extents;
import io.filterd.block.IoFilter;
import io.filterd.block.MemoryDevice;
import io.filterd.block.ZeroMode;
import io.filterd.daemon.PolicyGate.Exchange;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executor;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.UnaryOperator;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class PolicyGateTest extends BlockDeviceContract {
  private static final int BYTES = 4096;

  /** One each, for what waits for something else here. */
  private static final Executor THREADS = task -> Thread.ofPlatform().daemon().start(task);

  @Override
  protected BlockDevice create(long sizeBytes, UnaryOperator<BlockDevice> below) {
    return new PolicyGate(below.apply(new MemoryDevice(sizeBytes)));
  }

  /** Holds every read that may block until it is told to let them go on. */
  private static final class Holding extends IoFilter {
    final CountDownLatch goOn = new CountDownLatch(1);
    final CountDownLatch reached = new CountDownLatch(1);
    final AtomicInteger flushes = new AtomicInteger();
    volatile boolean closed;

    Holding(BlockDevice below) {
      super(new SharedDevice(below));
    }

    @Override
    public DeviceInfo info() {
      return below.info();
    }

    @Override
    public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
      try {
        if (blocking == Blocking.ALLOWED) {
          reached.countDown();
          goOn.await();
        }
      } catch (InterruptedException stop) {
        throw new IllegalStateException(stop);
      }
      return below.read(offset, target, blocking);
    }

    @Override
    public Completion write(
        long offset, ByteBuffer source, Durability durability, Blocking blocking)
        throws BlockException {
      return below.write(offset, source, durability, blocking);
    }

    @Override
    public Completion zero(
        long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
        throws BlockException {
      return below.zero(offset, length, mode, durability, blocking);
    }

    @Override
    public Completion trim(long offset, long length, Durability durability, Blocking blocking)
        throws BlockException {
      return below.trim(offset, length, durability, blocking);
    }

    @Override
    public Completion flush(Blocking blocking) throws BlockException {
      flushes.incrementAndGet();
      return below.flush(blocking);
    }

    @Override
    public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
      return below.extents(offset, length, blocking);
    }

    @Override
    public void close() throws BlockException {
      closed = true;
      super.close();
    }
  }

  private final MemoryDevice bottom = new MemoryDevice(1 << 20);
  private final Holding old = new Holding(bottom);
  private final PolicyGate gate = new PolicyGate(old);

  private static Extents read(BlockDevice device, Blocking blocking) {
    try {
      return device.read(0, ByteBuffer.allocateDirect(BYTES), blocking);
    } catch (BlockException failure) {
      throw new AssertionError(failure);
    }
  }

  private CompletableFuture<Extents> heldRead() {
    CompletableFuture<Extents> held =
        CompletableFuture.supplyAsync(() -> read(gate, Blocking.ALLOWED), THREADS);
    Awaitility.await().until(() -> old.reached.getCount() == 0);
    return held;
  }

  @Test
  void laterRequestsOvertakeThoseInTheOldFilters() throws Exception {
    CompletableFuture<Extents> held = heldRead();

    gate.exchange(new SharedDevice(bottom), Exchange.OVERLAPPING);
    gate.closeDrained();

    assertThat(read(gate, Blocking.FORBIDDEN)).isNotSameAs(Extents.WOULD_BLOCK);
    assertThat(held).isNotDone();
    assertThat(old.closed).isFalse();

    old.goOn.countDown();
    assertThat(held.join()).isNotNull();
    gate.closeDrained();
    assertThat(old.closed).isTrue();
  }

  @Test
  void laterRequestsWaitForTheLastInFiltersThatKeepData() throws Exception {
    CompletableFuture<Extents> held = heldRead();

    CompletableFuture<Void> exchange =
        CompletableFuture.runAsync(
            () -> {
              try {
                gate.exchange(new SharedDevice(bottom), Exchange.AFTER_THE_LAST);
              } catch (BlockException failure) {
                throw new AssertionError(failure);
              }
            },
            THREADS);
    Awaitility.await()
        .atMost(Duration.ofSeconds(30))
        .until(() -> read(gate, Blocking.FORBIDDEN) == Extents.WOULD_BLOCK);
    CompletableFuture<Extents> later =
        CompletableFuture.supplyAsync(() -> read(gate, Blocking.ALLOWED), THREADS);
    assertThat(exchange).isNotDone();
    assertThat(later).isNotDone();

    old.goOn.countDown();
    exchange.join();
    later.join();
    held.join();
    assertThat(old.flushes).hasValue(1);
    gate.closeDrained();
    assertThat(old.closed).isTrue();
  }

  @Test
  void closesFiltersThatWereExchangedBefore() throws Exception {
    gate.exchange(new SharedDevice(bottom), Exchange.OVERLAPPING);

    gate.close();

    assertThat(old.closed).isTrue();
  }

  @Test
  void growsWhenTheLastRequestHasLeftAllOldFilters() throws Exception {
    CompletableFuture<Extents> held = heldRead();
    Holding second = new Holding(bottom);
    gate.exchange(second, Exchange.OVERLAPPING);
    MemoryDevice larger = new MemoryDevice(1 << 21);
    CompletableFuture<Void> growth =
        CompletableFuture.runAsync(
            () -> {
              try {
                gate.grow(() -> larger);
              } catch (BlockException | IOException failure) {
                throw new AssertionError(failure);
              }
            },
            THREADS);
    Awaitility.await()
        .atMost(Duration.ofSeconds(30))
        .until(() -> read(gate, Blocking.FORBIDDEN) == Extents.WOULD_BLOCK);
    assertThat(growth).isNotDone();
    assertThat(gate.info().sizeBytes()).isEqualTo(1 << 20);

    old.goOn.countDown();
    growth.join();
    held.join();

    assertThat(gate.info().sizeBytes()).isEqualTo(1 << 21);
    assertThat(second.flushes).hasValue(1);
    assertThat(gate.closeDrained()).isTrue();
    assertThat(old.closed && second.closed).isTrue();
  }

  @Test
  void staysAsItIsIfTheGrowthFails() throws Exception {
    assertThatThrownBy(
            () ->
                gate.grow(
                    () -> {
                      throw new BlockException(BlockException.Reason.NO_SPACE, "full");
                    }))
        .hasMessage("full");

    old.goOn.countDown();
    assertThat(read(gate, Blocking.ALLOWED)).isNotNull();
    assertThat(gate.info().sizeBytes()).isEqualTo(1 << 20);
    assertThat(old.closed).isFalse();
  }

  @Test
  void refusesADeviceThatLooksDifferent() {
    assertThatThrownBy(() -> gate.exchange(new MemoryDevice(1 << 21), Exchange.OVERLAPPING))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("expected: a device as before");
  }
}
