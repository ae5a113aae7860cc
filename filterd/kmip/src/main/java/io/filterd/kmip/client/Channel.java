package io.filterd.kmip.client;

import io.filterd.kmip.Credential;
import io.filterd.kmip.KmipAnswer;
import io.filterd.kmip.KmipException;
import io.filterd.kmip.KmipRequest;
import io.filterd.kmip.KmipVersion;
import io.filterd.kmip.RequestMessage;
import io.filterd.kmip.ResponseMessage;
import io.filterd.kmip.net.ConnectionPool;
import io.filterd.kmip.net.ConnectionPool.Repeat;
import io.filterd.kmip.net.MessageBuffer;
import io.filterd.kmip.net.ServerAddress;
import io.filterd.kmip.net.TransportException;
import io.filterd.kmip.ttlv.Structure;
import io.filterd.kmip.ttlv.TtlvException;
import io.filterd.kmip.ttlv.TtlvLimits;
import io.filterd.kmip.ttlv.TtlvWriter;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** One request in one message, there and back. Safe for many threads. */
final class Channel implements AutoCloseable {
  /** What is to be kept of an answer, copied while its bytes are there. */
  @FunctionalInterface
  interface Keeping<A extends KmipAnswer, T> {
    T of(A answer);
  }

  /** An answer, or why there is none. */
  private record Outcome<T>(@Nullable T kept, @Nullable KmipException refusal) {}

  private final ConnectionPool pool;
  private final @Nullable Credential credential;
  private final TtlvLimits limits;

  Channel(ConnectionPool pool, @Nullable Credential credential, TtlvLimits limits) {
    this.pool = pool;
    this.credential = credential;
    this.limits = limits;
  }

  ServerAddress server() {
    return pool.address();
  }

  ConnectionPool pool() {
    return pool;
  }

  /**
   * @throws KmipException if the server says no; its connection is still good
   * @throws KmsException if there is no answer, or none that makes sense
   */
  <A extends KmipAnswer, T> T ask(
      KmipVersion version, KmipRequest<A> request, Repeat repeat, Keeping<A, T> keeping)
      throws KmipException, KmsException {
    Structure message =
        new RequestMessage(version, limits.messageBytes(), credential, List.of(request)).toItem();
    try (MessageBuffer bytes = MessageBuffer.allocate(message.encodedBytes())) {
      TtlvWriter.write(message, bytes.bytes());
      Outcome<T> outcome =
          pool.exchange(
              bytes.bytes(),
              repeat,
              answer -> {
                try {
                  ResponseMessage response = ResponseMessage.read(answer, limits);
                  return new Outcome<>(keeping.of(response.answerTo(request)), null);
                } catch (KmipException e) {
                  return new Outcome<>(null, e);
                }
              });
      if (outcome.refusal() != null) {
        throw outcome.refusal();
      }
      if (outcome.kept() == null) {
        throw new IllegalStateException(request.operation() + ": nothing kept of the answer");
      }
      return outcome.kept();
    } catch (TtlvException e) {
      throw KmsException.misunderstood(server(), request.operation().toString(), e);
    } catch (TransportException e) {
      throw KmsException.of(request.operation().toString(), e);
    }
  }

  @Override
  public void close() {
    pool.close();
  }
}
