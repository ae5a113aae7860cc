package io.filterd.bench;

import io.filterd.crypto.SecretBytes;
import io.filterd.crypto.SectorCipher;
import io.filterd.crypto.XtsEngine;
import io.filterd.crypto.XtsEngines;
import java.nio.ByteBuffer;
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
 * AES-256-XTS over direct buffers by every engine, as the encryption filter calls it: enciphering
 * from one buffer to another, deciphering in place. Results: bench/results/xts-engines.md.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(1)
@SuppressWarnings("NullAway.Init") // JMH calls prepare before anything else.
public class XtsBenchmark {
  private static final String ACCP = "accp";

  /** Who computes it: an engine of filterd, or the provider that they are measured against. */
  @Param({"libgcrypt", "openssl", "portable", ACCP})
  public String engine = "";

  /** The length of a request. */
  @Param({"4096", "65536"})
  public int lengthBytes;

  /** The data unit. */
  @Param({"512", "4096"})
  public int unitBytes;

  private final SecretBytes dek = SecretBytes.random(XtsEngine.DEK_BYTES);
  private SectorCipher cipher;
  private ByteBuffer source;
  private ByteBuffer target;
  // Goes on from call to call: accp refuses to encipher under the same tweak twice running.
  private long nextUnit;

  /** Makes the cipher, and random bytes. */
  @Setup(Level.Trial)
  public void prepare() {
    cipher =
        engine.equals(ACCP)
            ? new AccpCipher(dek, unitBytes)
            : XtsEngines.byName(engine).cipher(dek, unitBytes);
    byte[] random = new byte[lengthBytes];
    new SplittableRandom(1).nextBytes(random);
    source = ByteBuffer.allocateDirect(lengthBytes).put(random).flip();
    target = ByteBuffer.allocateDirect(lengthBytes);
  }

  /** Wipes the key. */
  @TearDown(Level.Trial)
  public void wipe() {
    cipher.close();
    dek.close();
  }

  private long takeUnits() {
    long first = nextUnit;
    nextUnit += lengthBytes / unitBytes;
    return first;
  }

  /** Enciphers a request's bytes to another buffer. */
  @Benchmark
  public ByteBuffer encipher() {
    cipher.encipher(takeUnits(), source, target);
    return target;
  }

  /** Deciphers a request's bytes in place. */
  @Benchmark
  public ByteBuffer decipher() {
    cipher.decipher(takeUnits(), source);
    return source;
  }
}
