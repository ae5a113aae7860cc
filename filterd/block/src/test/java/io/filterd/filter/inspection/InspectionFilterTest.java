package io.filterd.filter.inspection;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockDeviceContract;
import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import io.filterd.block.BlockSizes;
import io.filterd.block.Blocking;
import io.filterd.block.CheckedDevice;
import io.filterd.block.Durability;
import io.filterd.block.Extents;
import io.filterd.block.FaultyDevice;
import io.filterd.block.FaultyDevice.Fault;
import io.filterd.block.HesitantDevice;
import io.filterd.block.MemoryDevice;
import io.filterd.block.ZeroMode;
import io.filterd.filter.FilterClass;
import io.filterd.filter.FilterFactory;
import io.filterd.filter.HookedDevice;
import io.filterd.filter.Reporting;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.ServiceLoader;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.UnaryOperator;
import org.assertj.core.api.InstanceOfAssertFactories;
import org.assertj.core.api.MapAssert;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;

class InspectionFilterTest {
  @Nested
  class AsADevice extends BlockDeviceContract {
    @Override
    protected BlockDevice create(long sizeBytes, UnaryOperator<BlockDevice> below) {
      MemoryDevice memory = new MemoryDevice(sizeBytes, new BlockSizes(512, 4096, 1 << 20), 4096);
      return new InspectionFilter(below.apply(memory), System::nanoTime);
    }
  }

  private static final int SIZE_BYTES = 1 << 20;

  private final ByteBuffer buffer = ByteBuffer.allocateDirect(4096);
  private final AtomicLong clock = new AtomicLong();

  private InspectionFilter inspect(BlockDevice below) {
    return new InspectionFilter(new CheckedDevice(below), clock::get);
  }

  private static MapAssert<Object, Object> assertFigures(Reporting filter, String operation) {
    return assertThat(filter.report().get(operation)).asInstanceOf(InstanceOfAssertFactories.MAP);
  }

  /** A device on which every operation takes so long. */
  private BlockDevice slow(long nanos) {
    return new HookedDevice(new MemoryDevice(SIZE_BYTES), () -> clock.addAndGet(nanos));
  }

  @Test
  void countsAndTimesEveryOperation() throws BlockException {
    InspectionFilter filter = inspect(slow(1000));
    ZeroMode mode = ZeroMode.MAY_DEALLOCATE;

    filter.write(0, buffer.clear(), Durability.BUFFERED, Blocking.ALLOWED);
    filter.write(0, buffer.clear().limit(512), Durability.BUFFERED, Blocking.ALLOWED);
    filter.read(0, buffer.clear(), Blocking.ALLOWED);
    filter.zero(0, 8192, mode, Durability.BUFFERED, Blocking.ALLOWED);
    filter.trim(0, 16384, Durability.BUFFERED, Blocking.ALLOWED);
    filter.flush(Blocking.ALLOWED);
    filter.extents(4096, 65536, Blocking.ALLOWED);

    assertThat(filter.report())
        .containsOnlyKeys("read", "write", "zero", "trim", "flush", "extents");
    assertFigures(filter, "write")
        .containsExactlyInAnyOrderEntriesOf(
            Map.of(
                "count",
                2L,
                "bytes",
                4608L,
                "failures",
                0L,
                "inFlight",
                0L,
                "latencyP50Nanos",
                1000L,
                "latencyP90Nanos",
                1000L,
                "latencyP99Nanos",
                1000L,
                "latencyP999Nanos",
                1000L,
                "latencyMaxNanos",
                1000L));
    assertFigures(filter, "read").containsEntry("count", 1L).containsEntry("bytes", 4096L);
    assertFigures(filter, "zero").containsEntry("count", 1L).containsEntry("bytes", 8192L);
    assertFigures(filter, "trim").containsEntry("count", 1L).containsEntry("bytes", 16384L);
    assertFigures(filter, "flush").containsEntry("count", 1L).containsEntry("bytes", 0L);
    assertFigures(filter, "extents").containsEntry("count", 1L).containsEntry("bytes", 65536L);
  }

  @Test
  void tellsPercentiles() throws BlockException {
    AtomicLong nanos = new AtomicLong();
    InspectionFilter filter =
        inspect(new HookedDevice(new MemoryDevice(SIZE_BYTES), () -> clock.addAndGet(nanos.get())));
    for (int i = 1; i <= 1000; i++) {
      nanos.set(i * 1000L);
      filter.flush(Blocking.ALLOWED);
    }

    Map<String, Long> exact =
        Map.of(
            "latencyP50Nanos", 500_000L,
            "latencyP90Nanos", 900_000L,
            "latencyP99Nanos", 990_000L,
            "latencyP999Nanos", 999_000L);
    exact.forEach(
        (name, time) ->
            assertFigures(filter, "flush")
                .hasEntrySatisfying(
                    name, told -> assertThat((long) told).isBetween(time, time + time / 16)));
    assertFigures(filter, "flush").containsEntry("latencyMaxNanos", 1_000_000L);
  }

  @Test
  void countsFailuresApart() throws BlockException {
    FaultyDevice faulty = new FaultyDevice(new MemoryDevice(SIZE_BYTES));
    InspectionFilter filter = inspect(faulty);
    faulty.failAt(1, Fault.BEFORE, Reason.NO_SPACE);

    assertThatThrownBy(() -> filter.write(0, buffer.clear(), Durability.BUFFERED, Blocking.ALLOWED))
        .isInstanceOf(BlockException.class);
    filter.write(0, buffer.clear(), Durability.BUFFERED, Blocking.ALLOWED);

    assertFigures(filter, "write")
        .containsEntry("count", 1L)
        .containsEntry("bytes", 4096L)
        .containsEntry("failures", 1L)
        .containsEntry("inFlight", 0L);
  }

  @Test
  void doesNotCountTriesThatWouldBlock() throws BlockException {
    InspectionFilter filter = inspect(new HesitantDevice(slow(1000), 1));
    for (int i = 0; i < 100; i++) {
      if (filter.read(0, buffer.clear(), Blocking.FORBIDDEN) == Extents.WOULD_BLOCK) {
        clock.addAndGet(1_000_000);
        filter.read(0, buffer.clear(), Blocking.ALLOWED);
      }
    }

    assertFigures(filter, "read")
        .containsEntry("count", 100L)
        .containsEntry("bytes", 409_600L)
        .containsEntry("failures", 0L)
        .containsEntry("inFlight", 0L)
        .containsEntry("latencyMaxNanos", 1000L);
  }

  @Test
  void countsWhatIsInFlight() throws BlockException {
    List<InspectionFilter> filters = new ArrayList<>();
    List<Object> seen = new ArrayList<>();
    BlockDevice curious =
        new HookedDevice(
            new MemoryDevice(SIZE_BYTES), () -> seen.add(filters.get(0).report().get("flush")));
    filters.add(inspect(curious));

    filters.get(0).flush(Blocking.ALLOWED);

    assertThat(seen)
        .singleElement(InstanceOfAssertFactories.MAP)
        .containsEntry("inFlight", 1L)
        .containsEntry("count", 0L);
    assertFigures(filters.get(0), "flush").containsEntry("inFlight", 0L).containsEntry("count", 1L);
  }

  @Test
  void allocatesNothingForAnOperation() throws BlockException {
    com.sun.management.ThreadMXBean threads =
        (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();
    InspectionFilter filter = new InspectionFilter(new MemoryDevice(SIZE_BYTES), System::nanoTime);
    int rounds = 100_000;
    filter.read(0, buffer.clear(), Blocking.ALLOWED);
    filter.flush(Blocking.ALLOWED);

    long before = threads.getCurrentThreadAllocatedBytes();
    for (int i = 0; i < rounds; i++) {
      filter.read(0, buffer.clear(), Blocking.ALLOWED);
      filter.flush(Blocking.ALLOWED);
    }
    long allocated = threads.getCurrentThreadAllocatedBytes() - before;

    assertThat(allocated).as("bytes for %d operations", 2 * rounds).isLessThan(rounds);
  }

  @Test
  void isFoundByItsName() {
    FilterFactory factory =
        ServiceLoader.load(FilterFactory.class).stream()
            .map(ServiceLoader.Provider::get)
            .filter(each -> each.name().equals("inspection"))
            .findFirst()
            .orElseThrow();

    assertThat(factory.filterClass()).isEqualTo(FilterClass.INSPECTION);
    assertThat(factory.parameters()).isEmpty();
  }
}
