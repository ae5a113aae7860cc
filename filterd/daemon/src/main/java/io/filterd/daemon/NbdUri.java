package io.filterd.daemon;

import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.UnixDomainSocketAddress;
import java.util.ArrayList;
import java.util.List;

/** NBD URIs, as clients take them (doc/uri.md of the NBD project). */
final class NbdUri {
  private NbdUri() {}

  /** The URIs of an export, one for each address. */
  static List<String> of(List<SocketAddress> addresses, String export) {
    List<String> uris = new ArrayList<>();
    for (SocketAddress address : addresses) {
      if (address instanceof InetSocketAddress inet) {
        String host = inet.getAddress().getHostAddress();
        uris.add(
            "nbd://"
                + (host.contains(":") ? "[" + host + "]" : host)
                + ":"
                + inet.getPort()
                + "/"
                + export);
      } else if (address instanceof UnixDomainSocketAddress) {
        // An abstract name has no URI.
        uris.add("nbd+unix:///" + export + "?socket=" + address);
      }
    }
    return uris;
  }
}
