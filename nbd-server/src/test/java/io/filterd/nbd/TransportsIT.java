package io.filterd.nbd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.filterd.block.MemoryDevice;
import io.filterd.nbd.example.MemoryExport;
import io.filterd.nbd.example.ServiceExport;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Sockets of every kind, by the tools that people use; and what the system may refuse. */
class TransportsIT {
  private static final int SIZE_BYTES = 64 << 20;

  @TempDir Path folder;

  private String run(String... command) throws IOException, InterruptedException {
    Path output = Files.createTempFile(folder, "output", "");
    ProcessBuilder builder =
        new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(output.toFile());
    builder.environment().put("PATH", "/usr/bin:/bin");
    Process process = builder.start();
    assertThat(process.waitFor(60, TimeUnit.SECONDS)).as("%s ends", List.of(command)).isTrue();
    String said = Files.readString(output);
    assertThat(process.exitValue()).as("%s: %s", List.of(command), said).isZero();
    return said;
  }

  private static List<String> java(List<String> options, Class<?> main, String... arguments) {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.add("--enable-native-access=ALL-UNNAMED");
    command.add("--sun-misc-unsafe-memory-access=allow");
    command.addAll(options);
    command.addAll(List.of("-cp", System.getProperty("java.class.path"), main.getName()));
    command.addAll(List.of(arguments));
    return command;
  }

  private static NbdServer start(Listener... listeners) throws IOException {
    return NbdServer.start(
        NbdServerConfig.on(List.of()).toBuilder()
            .transport(NbdServerConfig.Transport.EPOLL)
            .listen(List.of(listeners))
            .build(),
        Exports.of("disk", new MemoryDevice(SIZE_BYTES)));
  }

  private static int port(NbdServer server) {
    return ((InetSocketAddress) server.addresses().getFirst()).getPort();
  }

  @Test
  void isReachedByBothVersionsOfIp() throws IOException, InterruptedException {
    try (NbdServer any = start(tcp("::"));
        NbdServer only = start(tcp("::1"))) {
      for (String place :
          List.of("[::1]:" + port(any), "127.0.0.1:" + port(any), "[::1]:" + port(only))) {
        String uri = "nbd://" + place + "/disk";
        assertThat(run("nbdinfo", "--size", uri).strip()).isEqualTo("" + SIZE_BYTES);
        assertThat(run("qemu-img", "info", uri)).contains("64 MiB");
      }
    }
  }

  private static Listener tcp(String host) {
    return Listener.on(new InetSocketAddress(InetAddress.ofLiteral(host), 0));
  }

  @Test
  void isReachedByAnAbstractName() throws IOException, InterruptedException {
    String name = "nbd-server-" + ProcessHandle.current().pid();
    try (NbdServer server = start(Listener.at(new Listener.AbstractUnix(name)))) {
      assertThat(server.addresses()).hasSize(1);
      assertThat(
              run(
                  "qemu-img",
                  "info",
                  "--image-opts",
                  "driver=nbd,export=disk,server.type=unix,server.abstract=on,server.tight=on"
                      + ",server.path="
                      + name))
          .contains("64 MiB");
      run(
          "nbdsh",
          "-c",
          """
          import socket
          s = socket.socket(socket.AF_UNIX)
          s.connect("\\0NAME")
          h.set_export_name("disk")
          h.connect_socket(s.detach())
          h.pwrite(b"x" * 512, 512)
          assert h.pread(512, 512) == b"x" * 512
          h.shutdown()
          """
              .replace("NAME", name));
    }
  }

  /** Three sockets; the first client is the one for whom the server is started. */
  @Test
  void servesTheSocketsOfSystemd() throws IOException, InterruptedException {
    Path socket = folder.resolve("nbd.sock");
    int port;
    try (ServerSocket any = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      port = any.getLocalPort();
    }
    List<String> command =
        new ArrayList<>(
            List.of(
                "systemd-socket-activate",
                "--listen=127.0.0.1:" + port,
                "--listen=" + socket,
                "--listen=[::1]:" + port,
                "--fdname=four:unix:six"));
    command.addAll(java(List.of(), ServiceExport.class, "unix", "four", "six"));
    Path log = folder.resolve("log");
    Process service = new ProcessBuilder(command).redirectError(log.toFile()).start();
    try (BufferedReader said = said(service)) {
      await().until(() -> Files.exists(socket));
      String unix = "nbd+unix:///memory?socket=" + socket;
      assertThat(run("nbdinfo", "--size", unix).strip()).isEqualTo("" + SIZE_BYTES);
      for (String host : List.of("127.0.0.1", "[::1]")) {
        String uri = "nbd://" + host + ":" + port + "/memory";
        assertThat(run("nbdinfo", "--size", uri).strip()).isEqualTo("" + SIZE_BYTES);
      }
      // The event loops wait for no connection: all are served while another says nothing.
      try (SocketChannel idle = SocketChannel.open(StandardProtocolFamily.UNIX)) {
        idle.connect(UnixDomainSocketAddress.of(socket));
        assertThat(run("nbdinfo", "--size", unix).strip()).isEqualTo("" + SIZE_BYTES);
      }
      assertThat(said.readLine())
          .startsWith("[" + socket + ", ")
          .contains("127.0.0.1:" + port, ":1]:" + port);
      service.getOutputStream().close();
      assertThat(service.waitFor(20, TimeUnit.SECONDS)).isTrue();
      assertThat(service.exitValue()).as("%s", Files.readString(log)).isZero();
      // It is systemd's, for the next start.
      assertThat(socket).exists();
    } finally {
      service.destroyForcibly();
    }
  }

  private static BufferedReader said(Process process) {
    return new BufferedReader(
        new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8));
  }

  @Test
  void doesWithoutIoUringWhereTheKernelForbidsIt() throws IOException, InterruptedException {
    List<String> command = new ArrayList<>();
    command.add("/usr/bin/python3");
    command.add(Path.of("src/test/scripts/forbid-io-uring.py").toString());
    command.addAll(java(List.of("-Dio.filterd.nbd.transport=io_uring"), MemoryExport.class));
    Process example = new ProcessBuilder(command).redirectErrorStream(true).start();
    try (BufferedReader said = said(example)) {
      List<String> lines = new ArrayList<>();
      String line = said.readLine();
      while (line != null && !line.startsWith("/127.0.0.1:")) {
        lines.add(line);
        line = said.readLine();
      }
      assertThat(line).as("%s", lines).isNotNull();
      String address = String.valueOf(line);
      String port = address.substring(address.lastIndexOf(':') + 1);
      assertThat(run("nbdinfo", "--size", "nbd://127.0.0.1:" + port + "/memory").strip())
          .isEqualTo("1073741824");
    } finally {
      example.destroyForcibly();
    }
  }
}
