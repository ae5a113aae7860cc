package io.filterd.bench;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Durability;
import io.filterd.block.Extents;
import io.filterd.block.file.FileDevice;
import io.filterd.vmdk.Access;
import io.filterd.vmdk.Chain;
import io.filterd.vmdk.CreateOptions;
import io.filterd.vmdk.VmdkDisk;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
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
 * Reads of 4 KiB at random places of a full thin VMDK whose grains were allocated in random order,
 * against the same reads of a plain file of the same size: the difference is the lookup of the
 * grain, and the chain's part. Both files are in the page cache, below {@code java.io.tmpdir}.
 * Results: bench/results/grain-lookup.md.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(1)
@SuppressWarnings("NullAway.Init") // JMH calls open before anything else.
public class GrainLookupBenchmark {
  private static final int REQUEST_BYTES = 4096;
  private static final int GRAIN_BYTES = 64 << 10;
  private static final String FILE = "file";
  private static final String CHAIN = "chain";

  /** What is read: a plain file, the mapping of a VMDK, or a chain of that link alone. */
  @Param({FILE, "link", CHAIN})
  public String device = "";

  /** The size of the disk. */
  @Param("2048")
  public int sizeMebibytes;

  private Path folder;
  private BlockDevice opened;
  private int requests;

  /** Makes the file, fills it grain by grain in random order, and opens it. */
  @Setup(Level.Trial)
  public void open() throws IOException, BlockException {
    long sizeBytes = (long) sizeMebibytes << 20;
    requests = (int) (sizeBytes / REQUEST_BYTES);
    folder = Files.createTempDirectory("filterd-grain-lookup-");
    Path path = folder.resolve("disk");
    if (device.equals(FILE)) {
      opened = FileDevice.create(path, sizeBytes);
    } else {
      VmdkDisk.create(path, CreateOptions.ofSize(sizeBytes));
      BlockDevice link = VmdkDisk.open(path, Access.READ_WRITE).link();
      opened = device.equals(CHAIN) ? new Chain(List.of(link)) : link;
    }
    fill((int) (sizeBytes / GRAIN_BYTES));
  }

  private void fill(int grains) throws BlockException {
    SplittableRandom random = new SplittableRandom(1);
    int[] order = shuffled(grains, random);
    byte[] bytes = new byte[GRAIN_BYTES];
    random.nextBytes(bytes);
    ByteBuffer grain = ByteBuffer.allocateDirect(GRAIN_BYTES).put(bytes);
    for (int index : order) {
      grain.clear();
      opened.write((long) index * GRAIN_BYTES, grain, Durability.BUFFERED, Blocking.ALLOWED);
    }
    // Nothing is to be written back while reads are timed.
    opened.flush(Blocking.ALLOWED);
  }

  private static int[] shuffled(int count, SplittableRandom random) {
    int[] order = new int[count];
    for (int i = 0; i < count; i++) {
      int other = random.nextInt(i + 1);
      order[i] = order[other];
      order[other] = i;
    }
    return order;
  }

  /** Removes the file. */
  @TearDown(Level.Trial)
  public void remove() throws IOException, BlockException {
    opened.close();
    Files.delete(folder.resolve("disk"));
    Files.delete(folder);
  }

  /** What a client brings along: a buffer, and where it reads next. */
  @State(Scope.Thread)
  public static class Client {
    private final ByteBuffer buffer = ByteBuffer.allocateDirect(REQUEST_BYTES);
    private final SplittableRandom places = new SplittableRandom(2);
  }

  /** Reads 4 KiB as the server does: without blocking, and if that can't be, again with. */
  @Benchmark
  @SuppressWarnings("ReferenceEquality") // WOULD_BLOCK is one object.
  public Extents read(Client client) throws BlockException {
    long offset = (long) client.places.nextInt(requests) * REQUEST_BYTES;
    Extents extents = opened.read(offset, client.buffer.clear(), Blocking.FORBIDDEN);
    return extents == Extents.WOULD_BLOCK
        ? opened.read(offset, client.buffer.clear(), Blocking.ALLOWED)
        : extents;
  }
}
