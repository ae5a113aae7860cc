package io.filterd.nbd.example;

import io.filterd.block.MemoryDevice;
import io.filterd.nbd.Exports;
import io.filterd.nbd.Listener;
import io.filterd.nbd.NbdServer;
import io.filterd.nbd.NbdServerConfig;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;

/** Serves memory on the sockets of systemd that have these names, until its input ends. */
public final class ServiceExport {
  private ServiceExport() {}

  /** One listener for each name; the empty name stands for all sockets. */
  public static void main(String[] names) throws IOException {
    List<Listener> listeners =
        Arrays.stream(names).map(name -> Listener.at(new Listener.Systemd(name))).toList();
    NbdServerConfig config = NbdServerConfig.on(List.of()).toBuilder().listen(listeners).build();
    try (MemoryDevice device = new MemoryDevice(64 << 20);
        NbdServer server = NbdServer.start(config, Exports.of("memory", device))) {
      System.out.println(server.addresses());
      while (System.in.read() >= 0) {
        // Until it ends.
      }
    }
  }
}
