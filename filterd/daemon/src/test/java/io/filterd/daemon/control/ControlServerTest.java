package io.filterd.daemon.control;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import io.filterd.daemon.control.OperationException.Code;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ControlServerTest {
  private static final List<Operation<?, ?>> KNOWN =
      List.of(
          Operation.DISK_LIST,
          Operation.DISK_INFO,
          Operation.DISK_CREATE,
          Operation.DISK_ATTACH,
          Operation.DISK_EXPORT,
          Operation.POLICY_APPLY,
          Operation.PROVIDER_BACKUP);

  @TempDir Path folder;

  /** Says that no call got here. */
  private static final class Refusing implements Operations {
    @Override
    public <A, R> R call(Operation<A, R> operation, A arguments, Progress progress)
        throws OperationException {
      throw new OperationException(Code.UNAVAILABLE, "reached " + arguments);
    }
  }

  private Path socket() {
    return folder.resolve("control.sock");
  }

  private ControlServer server(Duration callPatience) throws IOException {
    return ControlServer.start(
        socket(),
        PosixFilePermissions.fromString("rw-------"),
        new Refusing(),
        KNOWN,
        callPatience);
  }

  private SocketChannel connect() throws IOException {
    SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX);
    channel.connect(UnixDomainSocketAddress.of(socket()));
    return channel;
  }

  private JsonNode error(String call) throws IOException {
    try (SocketChannel channel = connect()) {
      channel.write(ByteBuffer.wrap((call + "\n").getBytes(UTF_8)));
      byte[] answer = Channels.newInputStream(channel).readAllBytes();
      return Json.MAPPER.readTree(answer).path("error");
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "null | not a call: null",
        "{} | operation: is missing",
        "[] | not a call",
        "nonsense | not a call",
        "{'operation':null,'arguments':{}} | operation: is missing",
        "{'operation':'disk.list'} | arguments: null (expected: an object)",
        "{'operation':'disk.list','arguments':null} | arguments: null (expected: an object)",
        "{'operation':'disk.info','arguments':7} | arguments: 7 (expected: an object)",
        "{'operation':'disk.info','arguments':{}} | name: is missing",
        "{'operation':'disk.info','arguments':{'name':null}} | name: is missing",
        "{'operation':'disk.info','arguments':{'name':{}}} | not a call",
        "{'operation':'policy.apply','arguments':{'name':'a/b','policy':null}} | policy: is missing",
        "{'operation':'disk.create','arguments':{'name':'a/b','sizeBytes':1}} | not a call",
        "{'operation':'disk.attach','arguments':{'name':'a/b','file':'a\\u0000b'}} | file: Nul char",
        "{'operation':'disk.export','arguments':{'name':'a/b','target':'a\\u0000b'}} | target: Nul",
        "{'operation':'provider.backup','arguments':{'file':'a'}} | passphraseFile: is missing"
      })
  void aCallThatIsNotWholeIsInvalid(String call, String sentence) throws IOException {
    try (ControlServer server = server(ControlServer.CALL_PATIENCE)) {
      JsonNode error = error(call.replace('\'', '"'));

      assertThat(error.path("code").asText()).isEqualTo("INVALID");
      assertThat(error.path("message").asText())
          .contains(sentence)
          .doesNotContain("Exception", "\n");
      assertThat(server).isNotNull();
    }
  }

  @Test
  void aWholeCallGetsThrough() throws IOException {
    try (ControlServer server = server(ControlServer.CALL_PATIENCE)) {
      JsonNode error =
          error("{\"operation\":\"disk.attach\",\"arguments\":{\"name\":\"a/b\",\"file\":null}}");

      assertThat(error.path("message").asText()).startsWith("reached AttachDisk");
      assertThat(server).isNotNull();
    }
  }

  @Test
  @Timeout(30)
  void idleConnectionsMakeRoomForCalls() throws IOException {
    List<SocketChannel> idle = new ArrayList<>();
    try (ControlServer server = server(Duration.ofMillis(200))) {
      for (int i = 0; i < 40; i++) {
        idle.add(connect());
      }

      assertThat(error("{}").path("code").asText()).isEqualTo("INVALID");
      assertThat(idle.getFirst().read(ByteBuffer.allocate(1))).isEqualTo(-1);
      assertThat(server).isNotNull();
    } finally {
      for (SocketChannel channel : idle) {
        channel.close();
      }
    }
  }

  /** Has many steps, and then an end. */
  private static final class Stepping implements Operations {
    static final int STEPS = 10_000;
    final CountDownLatch atTheEnd = new CountDownLatch(1);

    @Override
    public <A, R> R call(Operation<A, R> operation, A arguments, Progress progress)
        throws OperationException {
      for (int i = 1; i <= STEPS; i++) {
        progress.at(i, STEPS);
      }
      atTheEnd.countDown();
      throw new OperationException(Code.UNAVAILABLE, "at the end");
    }
  }

  @Test
  @Timeout(30)
  void aClientThatDoesNotReadKeepsNoWorkFromGoingOn() throws IOException, InterruptedException {
    Stepping work = new Stepping();
    try (ControlServer server =
            ControlServer.start(
                socket(), PosixFilePermissions.fromString("rw-------"), work, KNOWN);
        SocketChannel channel = connect()) {
      String call = "{\"operation\":\"disk.list\",\"arguments\":{}}\n";
      channel.write(ByteBuffer.wrap(call.getBytes(UTF_8)));

      work.atTheEnd.await();

      List<String> lines =
          new String(Channels.newInputStream(channel).readAllBytes(), UTF_8).lines().toList();
      assertThat(lines.getLast()).contains("at the end");
      assertThat(lines.get(lines.size() - 2)).contains("" + Stepping.STEPS);
      assertThat(server).isNotNull();
    }
  }

  @Test
  void theSocketHasItsModeAndNothingElseIsLeft() throws IOException {
    try (ControlServer server = server(ControlServer.CALL_PATIENCE)) {
      assertThat(Files.getPosixFilePermissions(socket()))
          .isEqualTo(PosixFilePermissions.fromString("rw-------"));
      assertThat(folder.toFile().list()).containsExactly("control.sock");
      assertThat(server).isNotNull();
    }
    assertThat(folder).isEmptyDirectory();
  }
}
