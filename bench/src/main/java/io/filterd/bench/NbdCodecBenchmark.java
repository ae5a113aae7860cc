package io.filterd.bench;

import io.filterd.nbd.wire.Protocol;
import io.filterd.nbd.wire.ProtocolException;
import io.filterd.nbd.wire.Replies;
import io.filterd.nbd.wire.ReplyMode;
import io.filterd.nbd.wire.RequestHeader;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.PooledByteBufAllocator;
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
 * Decoding NBD requests and encoding replies, without their payload, in a direct buffer of Netty's
 * pool as a connection has them. Results: bench/results/nbd-codec.md.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(1)
public class NbdCodecBenchmark {
  private static final int PAYLOAD_BYTES = 4096;
  private static final int REPLY_BYTES = 64;

  private final ByteBuf request =
      PooledByteBufAllocator.DEFAULT.directBuffer(RequestHeader.MAX_BYTES);
  private final ByteBuf reply = PooledByteBufAllocator.DEFAULT.directBuffer(REPLY_BYTES);
  private final RequestHeader header = new RequestHeader();
  private final Replies simple = new Replies(ReplyMode.SIMPLE);
  private final Replies structured = new Replies(ReplyMode.STRUCTURED);

  /** Writes the request that is decoded again and again. */
  @Setup(Level.Trial)
  public void fill() {
    request.writeInt(Protocol.REQUEST_MAGIC);
    request.writeShort(Protocol.NBD_CMD_FLAG_FUA);
    request.writeShort(Protocol.NBD_CMD_WRITE);
    request.writeLong(1);
    request.writeLong(1L << 40);
    request.writeInt(PAYLOAD_BYTES);
  }

  /** Gives the buffers back. */
  @TearDown(Level.Trial)
  public void release() {
    request.release();
    reply.release();
  }

  /** Decodes a request. */
  @Benchmark
  public RequestHeader decodeRequest() throws ProtocolException {
    header.read(request.readerIndex(0), ReplyMode.STRUCTURED);
    return header;
  }

  /** Encodes a simple reply. */
  @Benchmark
  public ByteBuf encodeSimpleReply() {
    header.cookie++;
    simple.done(reply.clear(), header);
    return reply;
  }

  /** Encodes the header of a structured reply's only chunk of data. */
  @Benchmark
  public ByteBuf encodeDataChunk() {
    header.cookie++;
    structured.dataHeader(reply.clear(), true, header, 1L << 40, PAYLOAD_BYTES);
    return reply;
  }

  /** Encodes a structured reply's only chunk, a hole. */
  @Benchmark
  public ByteBuf encodeHoleChunk() {
    header.cookie++;
    structured.hole(reply.clear(), true, header, 1L << 40, PAYLOAD_BYTES);
    return reply;
  }
}
