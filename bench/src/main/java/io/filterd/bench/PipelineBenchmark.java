package io.filterd.bench;

import io.filterd.block.AlignmentFilter;
import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.BlockSizes;
import io.filterd.block.Blocking;
import io.filterd.block.CheckedDevice;
import io.filterd.block.Completion;
import io.filterd.block.Durability;
import io.filterd.block.Extents;
import io.filterd.block.MemoryDevice;
import io.filterd.crypto.SecretBytes;
import io.filterd.crypto.XtsEngine;
import io.filterd.crypto.XtsEngines;
import io.filterd.filter.FilterContext;
import io.filterd.filter.FilterFactory;
import io.filterd.filter.FilterSettings;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.ServiceLoader;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * What each filter of the pipeline adds to a request of 4 KiB at a random place, over a device in
 * memory that holds data everywhere. Stacked as the daemon stacks it, less the VMDK and its chain.
 * Results: bench/results/pipeline.md.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(1)
@SuppressWarnings("NullAway.Init") // JMH calls stack before anything else.
public class PipelineBenchmark {
  private static final int REQUEST_BYTES = 4096;
  private static final int SECTOR_BYTES = 512;
  private static final int DISK_BYTES = 64 << 20;
  private static final int FILL_BYTES = 1 << 20;

  /** Limits that no benchmark reaches, so that the filter counts and never delays. */
  private static final FilterSettings HIGH_LIMITS =
      new FilterSettings(
          Map.of(
              "operations", 100_000_000L, "bandwidth", 1L << 50, "burst", Duration.ofSeconds(1)));

  /** The filters, the one nearest the client first. */
  @Param({"none", "inspection", "inspection+qos", "inspection+qos+encryption"})
  public String filters = "";

  private BlockDevice top;

  private record Context(FilterSettings settings) implements FilterContext {
    @Override
    public String disk() {
      return "vm1/disk0";
    }

    @Override
    public <T> T service(Class<T> type) {
      try (SecretBytes dek = SecretBytes.random(XtsEngine.DEK_BYTES)) {
        return type.cast(XtsEngines.byName(XtsEngines.AUTO).cipher(dek, REQUEST_BYTES));
      }
    }
  }

  /** Stacks the pipeline and fills the device. */
  @Setup(Level.Trial)
  public void stack() throws BlockException {
    BlockDevice below =
        new CheckedDevice(
            new MemoryDevice(
                DISK_BYTES, new BlockSizes(SECTOR_BYTES, 4096, 32 << 20), REQUEST_BYTES));
    if (!filters.equals("none")) {
      for (String name : List.of(filters.split("\\+")).reversed()) {
        below = new CheckedDevice(filter(name, below));
      }
    }
    top = new CheckedDevice(new AlignmentFilter(below, 1));
    ByteBuffer data = random(FILL_BYTES);
    for (int at = 0; at < DISK_BYTES; at += FILL_BYTES) {
      top.write(at, data.duplicate(), Durability.BUFFERED, Blocking.ALLOWED);
    }
  }

  private static BlockDevice filter(String name, BlockDevice below) throws BlockException {
    FilterFactory factory =
        ServiceLoader.load(FilterFactory.class).stream()
            .map(ServiceLoader.Provider::get)
            .filter(each -> each.name().equals(name))
            .findFirst()
            .orElseThrow();
    return factory.create(new Context(HIGH_LIMITS), below);
  }

  private static ByteBuffer random(int lengthBytes) {
    byte[] bytes = new byte[lengthBytes];
    new SplittableRandom(1).nextBytes(bytes);
    return ByteBuffer.allocateDirect(lengthBytes).put(bytes).flip();
  }

  /** Closes what was stacked. */
  @TearDown(Level.Trial)
  public void close() throws BlockException {
    top.close();
  }

  /** What a client brings along: a buffer, and where it goes next. */
  @State(Scope.Thread)
  public static class Client {
    private final ByteBuffer buffer = random(REQUEST_BYTES);
    private final SplittableRandom places = new SplittableRandom(2);

    private long nextOffset() {
      return (long) places.nextInt(DISK_BYTES / REQUEST_BYTES) * REQUEST_BYTES;
    }
  }

  /** Reads 4 KiB. */
  @Benchmark
  public Extents read(Client client) throws BlockException {
    return top.read(client.nextOffset(), client.buffer.clear(), Blocking.ALLOWED);
  }

  /** Writes 4 KiB. */
  @Benchmark
  public Completion write(Client client) throws BlockException {
    return top.write(
        client.nextOffset(), client.buffer.clear(), Durability.BUFFERED, Blocking.ALLOWED);
  }
}
