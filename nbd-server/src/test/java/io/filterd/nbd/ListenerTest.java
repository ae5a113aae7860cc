package io.filterd.nbd;

import static io.filterd.nbd.wire.Protocol.NBD_CMD_READ;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_LIST;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import io.filterd.block.MemoryDevice;
import io.filterd.nbd.wire.Protocol;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** Where a server listens, and that what happens at one place leaves the others alone. */
@ExtendWith(NoLeaks.class)
final class ListenerTest {
  private static final Duration PATIENCE = Duration.ofSeconds(1);

  @TempDir Path folder;

  private final HeldDevice slow = new HeldDevice(new MemoryDevice(1 << 20));
  private final CountedExports exports =
      new CountedExports().with("disk", new MemoryDevice(1 << 20)).with("slow", slow);

  @AfterEach
  void givesBackEveryLease() {
    slow.letGo();
    await().until(() -> exports.openLeases() == 0);
  }

  private static Listener loopback() {
    return Listener.on(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
  }

  private NbdServer start(Listener... listeners) throws IOException {
    return NbdServer.start(
        NbdServerConfig.on(List.of()).toBuilder().listen(List.of(listeners)).build(), exports);
  }

  private static Listener.Limits limits(
      int connections, Duration handshake, Duration idle, int options, int requests) {
    return new Listener.Limits(connections, handshake, idle, options, requests, 64 << 20);
  }

  private static RawClient connect(NbdServer server, int listener) throws IOException {
    return new RawClient(server.addresses().get(listener));
  }

  @Test
  void keepsAFullListenerFromFillingOthers() throws Exception {
    Listener.Limits two = limits(2, Duration.ofMinutes(1), Duration.ZERO, 4096, 128);
    try (NbdServer server = start(loopback().with(two), loopback());
        RawClient first = connect(server, 0).greet();
        RawClient second = connect(server, 0).greet()) {
      try (RawClient third = connect(server, 0)) {
        assertThat(third.atEnd()).isTrue();
      }
      try (RawClient other = connect(server, 1).go("disk", false)) {
        assertThat(other.read(0, 512)).hasSize(512);
      }

      first.reset();
      await().until(() -> isServed(server.addresses().getFirst()));
      assertThat(second.ask(NBD_OPT_LIST)).isNotEmpty();
    }
  }

  @Test
  void endsASlowHandshakeByTheLimitsOfItsListener() throws Exception {
    Listener.Limits hasty = limits(9, Duration.ofMillis(200), Duration.ZERO, 4096, 128);
    try (NbdServer server = start(loopback().with(hasty), loopback());
        RawClient patient = connect(server, 1).greet();
        RawClient slowOne = connect(server, 0).greet()) {
      assertThat(slowOne.atEnd()).isTrue();
      assertThat(patient.ask(NBD_OPT_LIST).getLast().type()).isEqualTo(Protocol.NBD_REP_ACK);
    }
  }

  @Test
  void countsOptionsByTheLimitsOfTheListener() throws Exception {
    Listener.Limits four = limits(9, Duration.ofMinutes(1), Duration.ZERO, 4, 128);
    try (NbdServer server = start(loopback().with(four), loopback());
        RawClient short1 = connect(server, 0).greet();
        RawClient long1 = connect(server, 1).greet()) {
      for (int i = 0; i < 4; i++) {
        short1.ask(NBD_OPT_LIST);
        long1.ask(NBD_OPT_LIST);
      }
      short1.sendOption(NBD_OPT_LIST);
      assertThat(short1.atEnd()).isTrue();
      assertThat(long1.ask(NBD_OPT_LIST).getLast().type()).isEqualTo(Protocol.NBD_REP_ACK);
    }
  }

  @Test
  void worksOnAsManyRequestsAsTheListenerAllows() throws Exception {
    Listener.Limits one = limits(9, Duration.ofMinutes(1), Duration.ZERO, 4096, 1);
    try (NbdServer server = start(loopback().with(one), loopback());
        RawClient single = connect(server, 0).go("slow", false)) {
      for (int i = 0; i < 5; i++) {
        single.sendRequest(0, NBD_CMD_READ, i, 0, 512);
      }
      await().until(() -> slow.held() == 1);
      try (RawClient many = connect(server, 1).go("slow", false)) {
        for (int i = 0; i < 5; i++) {
          many.sendRequest(0, NBD_CMD_READ, i, 0, 512);
        }
        await().until(() -> slow.held() == 6);
        slow.letGo();
        Set<Long> answered = new HashSet<>();
        for (int i = 0; i < 5; i++) {
          assertThat(single.readSimple(512).cookie()).isEqualTo(i);
          answered.add(many.readSimple(512).cookie());
        }
        assertThat(answered).hasSize(5);
      }
    }
  }

  @Test
  void endsIdleClientsWhereItIsToldTo() throws Exception {
    Listener.Limits brief = limits(9, Duration.ofMinutes(1), Duration.ofMillis(300), 4096, 128);
    try (NbdServer server = start(loopback().with(brief), loopback());
        RawClient waiting = connect(server, 0).go("slow", false);
        RawClient other = connect(server, 1).go("disk", false);
        RawClient idle = connect(server, 0).go("disk", false)) {
      waiting.sendRequest(0, NBD_CMD_READ, 7, 0, 512);
      assertThat(idle.read(0, 512)).hasSize(512);

      assertThat(idle.atEnd()).isTrue();
      assertThat(other.read(0, 512)).hasSize(512);
      // Who waits for an answer is not idle.
      await().during(PATIENCE).atMost(PATIENCE.multipliedBy(10)).until(() -> slow.held() == 1);
      slow.letGo();
      assertThat(waiting.readSimple(512).cookie()).isEqualTo(7);
      assertThat(waiting.atEnd()).isTrue();
    }
  }

  @Test
  void makesAUnixSocketThatIsNeverOpenToMore() throws IOException, InterruptedException {
    Path socket = folder.resolve("nbd.sock");
    Set<PosixFilePermission> mode = PosixFilePermissions.fromString("rw-rw----");
    String group =
        Files.getAttribute(folder, "unix:gid").toString(); // Also people without a name have one.
    String owner = Files.getAttribute(folder, "unix:uid").toString();
    Set<String> seen = ConcurrentHashMap.newKeySet();
    AtomicBoolean done = new AtomicBoolean();
    Thread watching = Thread.ofPlatform().start(() -> watch(socket, seen, done));
    for (int i = 0; i < 20; i++) {
      try (NbdServer server = start(Listener.at(new Listener.Unix(socket, mode, owner, group)))) {
        assertThat(server.addresses()).containsExactly(UnixDomainSocketAddress.of(socket));
        assertThat(Files.getPosixFilePermissions(socket)).isEqualTo(mode);
        assertThat(isServed(UnixDomainSocketAddress.of(socket))).isTrue();
        assertThat(folder).isDirectoryNotContaining("glob:**/.*");
      }
      assertThat(socket).doesNotExist();
    }
    done.set(true);
    watching.join(10_000);

    assertThat(seen).isSubsetOf("rw-rw----");
  }

  private static void watch(Path socket, Set<String> seen, AtomicBoolean done) {
    while (!done.get()) {
      try {
        seen.add(PosixFilePermissions.toString(Files.getPosixFilePermissions(socket)));
      } catch (IOException notThere) {
        Thread.onSpinWait();
      }
    }
  }

  @Test
  void namesTheOwnerThatThereIsNot() {
    Listener nobody =
        Listener.at(new Listener.Unix(folder.resolve("s"), null, null, "no-such-group"));

    assertThatThrownBy(() -> start(nobody)).hasMessageEndingWith("there is no group no-such-group");
    assertThat(folder).isEmptyDirectory();
  }

  @Test
  void replacesOnlyASocketThatNobodyListensOn() throws Exception {
    Path socket = folder.resolve("nbd.sock");
    Listener there = Listener.on(UnixDomainSocketAddress.of(socket));
    try (ServerSocketChannel stale = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
      stale.bind(UnixDomainSocketAddress.of(socket));
      assertThatThrownBy(() -> start(there)).hasMessageEndingWith("somebody else does");
    }
    try (NbdServer server = start(there)) {
      assertThat(server.addresses()).hasSize(1);
      assertThat(isServed(UnixDomainSocketAddress.of(socket))).isTrue();
    }
    Files.writeString(socket, "precious");
    assertThatThrownBy(() -> start(there)).hasMessageEndingWith("it is there, and no socket");
    assertThat(socket).hasContent("precious");
  }

  @Test
  void leavesWhatTookThePlaceOfItsSocket() throws Exception {
    Path socket = folder.resolve("nbd.sock");
    try (NbdServer server = start(Listener.on(UnixDomainSocketAddress.of(socket)))) {
      assertThat(server.addresses()).hasSize(1);
      Path other = Files.writeString(folder.resolve("other"), "precious");
      Files.delete(socket);
      Files.move(other, socket);
    }

    assertThat(socket).hasContent("precious");
  }

  @Test
  void saysThatAFolderIsTooLongForASocket() throws Exception {
    Path deep = Files.createDirectory(folder.resolve("d".repeat(100)));
    Listener there = Listener.on(UnixDomainSocketAddress.of(deep.resolve("s")));

    assertThatThrownBy(() -> start(there)).hasMessageContaining("too long (expected: at most 99");
    assertThat(deep).isEmptyDirectory();
  }

  @Test
  void listensByEitherVersionOfIp() throws Exception {
    try (NbdServer both = start(Listener.on(at("::", 0)));
        NbdServer six = start(Listener.on(at("::1", 0)));
        NbdServer four = start(Listener.on(at("127.0.0.1", 0)))) {
      assertThat(isServed(at("127.0.0.1", both))).isTrue();
      assertThat(isServed(at("::1", both))).isTrue();
      assertThat(isServed(at("::1", six))).isTrue();
      assertThat(isServed(at("127.0.0.1", six))).isFalse();
      assertThat(isServed(at("127.0.0.1", four))).isTrue();
      assertThat(isServed(at("::1", four))).isFalse();
      // The same port of both.
      try (NbdServer pair = start(Listener.on(at("::1", four)), Listener.on(at("127.0.0.1", 0)))) {
        assertThat(pair.addresses()).hasSize(2);
      }
    }
  }

  @Test
  void givesUpEveryPlaceIfOneIsTaken() throws Exception {
    Path socket = folder.resolve("nbd.sock");
    try (NbdServer first = start(loopback())) {
      assertThatThrownBy(
              () ->
                  start(
                      Listener.on(UnixDomainSocketAddress.of(socket)),
                      Listener.on(first.addresses().getFirst())))
          .isInstanceOf(IOException.class)
          .hasMessageEndingWith("the address is in use");
      assertThat(folder).isEmptyDirectory();
      assertThat(isServed(first.addresses().getFirst())).isTrue();
    }
  }

  @Test
  void saysThatSystemdHasHandedOverNothing() {
    assertThatThrownBy(() -> start(Listener.at(new Listener.Systemd(""))))
        .isInstanceOf(IOException.class)
        .hasMessageStartingWith("can't listen on the sockets of systemd: ");
  }

  private static InetSocketAddress at(String host, NbdServer server) {
    return at(host, ((InetSocketAddress) server.addresses().getFirst()).getPort());
  }

  private static InetSocketAddress at(String host, int port) {
    return new InetSocketAddress(InetAddress.ofLiteral(host), port);
  }

  /** Whether there is a greeting. */
  private static boolean isServed(SocketAddress address) throws IOException {
    SocketChannel client;
    try {
      client = SocketChannel.open(address);
    } catch (IOException refused) {
      return false;
    }
    try (client) {
      ByteBuffer magic = ByteBuffer.allocate(Long.BYTES);
      while (magic.hasRemaining() && client.read(magic) >= 0) {
        // The rest of it is on its way.
      }
      return !magic.hasRemaining() && magic.getLong(0) == Protocol.NBDMAGIC;
    }
  }
}
