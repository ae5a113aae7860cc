package io.filterd.nbd.example;

import io.filterd.block.MemoryDevice;
import io.filterd.nbd.Exports;
import io.filterd.nbd.NbdServer;
import io.filterd.nbd.NbdServerConfig;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.List;

/** Serves a gibibyte of memory until its input ends: the example of the README. */
public final class MemoryExport {
  private MemoryExport() {}

  /** Listens on the loopback address, at the port given or one that is free. */
  public static void main(String[] arguments) throws IOException {
    int port = arguments.length == 0 ? 0 : Integer.parseInt(arguments[0]);
    InetSocketAddress address = new InetSocketAddress(InetAddress.getLoopbackAddress(), port);
    try (MemoryDevice device = new MemoryDevice(1L << 30);
        NbdServer server =
            NbdServer.start(NbdServerConfig.on(List.of(address)), Exports.of("memory", device))) {
      System.out.println(server.addresses().getFirst());
      while (System.in.read() >= 0) {
        // Until Ctrl-D.
      }
    }
  }
}
