package io.filterd.bench;

import io.filterd.crypto.SecretBytes;
import io.filterd.keys.chronicle.DekCache;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * The DEK cache with a thousand unlocked links: what attaching a disk costs beyond fetching its
 * key. Not on the data path. Results: bench/results/dek-cache-cold-start.md.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(1)
public class DekCacheBenchmark {
  private static final int LINKS = 1000;

  private final String[] ids = new String[LINKS];
  private final DekCache cache = new DekCache(LINKS);
  private final SecretBytes dek = SecretBytes.random(DekCache.DEK_BYTES);
  private int next;

  /** Fills the cache. */
  @Setup(Level.Trial)
  public void fill() {
    for (int i = 0; i < LINKS; i++) {
      ids[i] = UUID.randomUUID().toString();
      cache.put(ids[i], dek);
    }
  }

  /** Wipes it. */
  @TearDown(Level.Trial)
  public void wipe() {
    cache.close();
    dek.close();
  }

  private String nextId() {
    next = (next + 1) % LINKS;
    return ids[next];
  }

  /** Gets an entry, unseals it into secret memory, and wipes that copy. */
  @Benchmark
  public void open() {
    cache.open(nextId()).ifPresent(SecretBytes::close);
  }

  /** Seals a key in place of another. */
  @Benchmark
  public boolean put() {
    return cache.put(nextId(), dek);
  }

  /** Whether a link is unlocked. */
  @Benchmark
  public boolean contains() {
    return cache.contains(nextId());
  }
}
