package io.filterd.daemon.control;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import io.filterd.daemon.control.OperationException.Code;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

/** Asks a running daemon. One connection for each call. */
public final class ControlClient implements Operations {
  private final Path socket;

  /** A client of the daemon that listens on {@code socket}. */
  public ControlClient(Path socket) {
    this.socket = socket;
  }

  /** Whether a daemon answers there. */
  public boolean answers() {
    try (SocketChannel channel = connect()) {
      return channel.isConnected();
    } catch (IOException nobody) {
      return false;
    }
  }

  private SocketChannel connect() throws IOException {
    SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX);
    try {
      channel.connect(UnixDomainSocketAddress.of(socket));
      return channel;
    } catch (IOException | RuntimeException failure) {
      channel.close();
      throw failure;
    }
  }

  @Override
  public <A, R> R call(Operation<A, R> operation, A arguments, Progress progress)
      throws OperationException {
    try (SocketChannel channel = connect()) {
      OutputStream out = Channels.newOutputStream(channel);
      JsonNode tree = Json.MAPPER.valueToTree(arguments);
      out.write(Json.MAPPER.writeValueAsBytes(new Requests.Call(operation.name(), tree)));
      out.write('\n');
      BufferedReader in =
          new BufferedReader(
              new InputStreamReader(Channels.newInputStream(channel), StandardCharsets.UTF_8));
      for (String line = in.readLine(); line != null; line = in.readLine()) {
        Requests.Answer answer = Json.MAPPER.readValue(line, Requests.Answer.class);
        if (answer.progress() != null) {
          if (!progress.at(answer.progress().doneBytes(), answer.progress().totalBytes())) {
            throw new OperationException(Code.CANCELLED, operation.name() + ": stopped");
          }
        } else if (answer.error() != null) {
          throw new OperationException(
              answer.error().code(), answer.error().message(), answer.error().details());
        } else if (answer.result() != null) {
          return Json.MAPPER.treeToValue(answer.result(), operation.result());
        }
      }
      throw new OperationException(
          Code.UNAVAILABLE, "the daemon ended before it answered: look at its log");
    } catch (JsonProcessingException malformed) {
      throw new OperationException(
          Code.UNAVAILABLE,
          "what answers on "
              + socket
              + " is no filterd of this version: "
              + malformed.getOriginalMessage(),
          malformed);
    } catch (IOException failure) {
      throw new OperationException(
          Code.UNAVAILABLE, "no daemon answers on " + socket + ": start `filterd serve`", failure);
    }
  }
}
