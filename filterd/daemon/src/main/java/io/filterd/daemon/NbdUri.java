package io.filterd.daemon;

import io.filterd.nbd.NbdServer;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.UnixDomainSocketAddress;
import java.util.ArrayList;
import java.util.List;

/** NBD URIs, as clients take them (doc/uri.md of the NBD project). */
final class NbdUri {
  private NbdUri() {}

  /** The URIs of an export, one for each address of its server. */
  static List<String> of(NbdServer server, String export) {
    List<String> uris = new ArrayList<>();
    for (SocketAddress address : server.addresses()) {
      String scheme = server.needsTls(address) ? "nbds" : "nbd";
      if (address instanceof InetSocketAddress inet) {
        String host = inet.getAddress().getHostAddress();
        uris.add(
            scheme
                + "://"
                + (host.contains(":") ? "[" + host + "]" : host)
                + ":"
                + inet.getPort()
                + "/"
                + export);
      } else if (address instanceof UnixDomainSocketAddress) {
        // An abstract name has no URI.
        uris.add(scheme + "+unix:///" + export + "?socket=" + address);
      }
    }
    return uris;
  }
}
