package io.filterd.nbd;

import static java.lang.foreign.ValueLayout.JAVA_INT;

import io.netty.channel.unix.Socket;
import java.io.IOException;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.invoke.MethodHandle;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The sockets that systemd, or who does as it does, has opened for this process: descriptors from 3
 * on, counted and named in its environment (sd_listen_fds(3)). Linux only.
 */
final class InheritedSockets {
  private static final int FIRST_DESCRIPTOR = 3;

  /** More are a mistake. */
  private static final int MAX_DESCRIPTORS = 1024;

  // asm-generic/socket.h, linux/socket.h, linux/net.h
  private static final int SOL_SOCKET = 1;
  private static final int SO_TYPE = 3;
  private static final int SO_ACCEPTCONN = 30;
  private static final int SO_DOMAIN = 39;
  private static final int AF_UNIX = 1;
  private static final int AF_INET = 2;
  private static final int AF_INET6 = 10;
  private static final int SOCK_STREAM = 1;

  // asm-generic/fcntl.h
  private static final int F_SETFD = 2;
  private static final int F_GETFL = 3;
  private static final int F_SETFL = 4;
  private static final int FD_CLOEXEC = 1;
  private static final int O_NONBLOCK = 0x800;

  /** One of them. */
  record Inherited(int descriptor, String name) {}

  private InheritedSockets() {}

  /**
   * The sockets of this name.
   *
   * @param name empty for all
   * @param environment the process's
   * @param pid the process's
   * @throws IOException if there is none
   */
  static List<Inherited> named(String name, Map<String, String> environment, long pid)
      throws IOException {
    String owner = environment.get("LISTEN_PID");
    if (owner == null || !owner.equals(Long.toString(pid))) {
      throw new IOException(
          "LISTEN_PID: "
              + (owner == null ? "none" : owner)
              + " (expected: "
              + pid
              + ", as set by systemd for a service with a .socket unit)");
    }
    int count = count(environment.get("LISTEN_FDS"));
    // A limit of -1 keeps the empty names at the end.
    String names = environment.get("LISTEN_FDNAMES");
    String[] each = names == null ? new String[0] : names.split(":", -1);
    List<Inherited> found = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      String own = i < each.length ? each[i] : "unknown"; // As sd_listen_fds_with_names(3) has it.
      if (name.isEmpty() || name.equals(own)) {
        found.add(new Inherited(FIRST_DESCRIPTOR + i, own));
      }
    }
    if (found.isEmpty()) {
      throw new IOException("none is named " + name + " (expected: one of " + names + ")");
    }
    return found;
  }

  private static int count(@Nullable String text) throws IOException {
    try {
      int count = text == null ? 0 : Integer.parseInt(text);
      if (count >= 1 && count <= MAX_DESCRIPTORS) {
        return count;
      }
    } catch (NumberFormatException noNumber) {
      // Told below.
    }
    throw new IOException("LISTEN_FDS: " + text + " (expected: 1.." + MAX_DESCRIPTORS + ")");
  }

  /**
   * Makes a descriptor fit for an event loop, which must not wait in accept(2).
   *
   * @return whether it is a Unix socket; else it is one of TCP
   * @throws IOException if it is no socket that listens
   */
  static boolean prepare(Socket socket) throws IOException {
    if (socket.getIntOpt(SOL_SOCKET, SO_ACCEPTCONN) != 1
        || socket.getIntOpt(SOL_SOCKET, SO_TYPE) != SOCK_STREAM) {
      throw new IOException("is no stream socket that listens (expected: ListenStream=)");
    }
    int family = socket.getIntOpt(SOL_SOCKET, SO_DOMAIN);
    if (family != AF_UNIX && family != AF_INET && family != AF_INET6) {
      throw new IOException("address family: " + family + " (expected: IPv4, IPv6 or Unix)");
    }
    int descriptor = socket.intValue();
    int flags = fcntl(descriptor, F_GETFL, 0);
    if (flags < 0
        || fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) < 0
        || fcntl(descriptor, F_SETFD, FD_CLOEXEC) < 0) {
      throw new IOException("can't be set not to block");
    }
    return family == AF_UNIX;
  }

  private static int fcntl(int descriptor, int command, int argument) {
    try {
      return (int) Fcntl.HANDLE.invokeExact(descriptor, command, argument);
    } catch (Throwable impossible) {
      throw new IllegalStateException(impossible);
    }
  }

  /** Loaded when it is needed, since not every start needs it. */
  private static final class Fcntl {
    private static final MethodHandle HANDLE =
        Linker.nativeLinker()
            .downcallHandle(
                Linker.nativeLinker().defaultLookup().findOrThrow("fcntl"),
                FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT),
                Linker.Option.firstVariadicArg(2));
  }
}
