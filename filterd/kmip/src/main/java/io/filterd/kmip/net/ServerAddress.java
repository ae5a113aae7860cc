package io.filterd.kmip.net;

/**
 * Where a KMIP server listens.
 *
 * @param host a name, an IPv4 or an IPv6 address (without brackets), 1..253 characters
 * @param port 1..65535
 */
public record ServerAddress(String host, int port) {
  /** The port that is registered for KMIP. */
  public static final int DEFAULT_PORT = 5696;

  private static final int MAX_HOST_CHARACTERS = 253;

  /** Checks the ranges. */
  public ServerAddress {
    if (host.isEmpty()
        || host.length() > MAX_HOST_CHARACTERS
        || !host.chars().allMatch(c -> c > ' ' && c < 0x7f && "/[]@".indexOf(c) < 0)) {
      throw new IllegalArgumentException(
          "host: '" + host + "' (expected: a host name or an IP address)");
    }
    if (port < 1 || port > 0xffff) {
      throw new IllegalArgumentException("port: " + port + " (expected: 1..65535)");
    }
  }

  /** Reads {@code host}, {@code host:port}, {@code [address]:port} or a bare IPv6 address. */
  public static ServerAddress parse(String text) {
    int colon = text.lastIndexOf(':');
    boolean bracketed = text.startsWith("[");
    boolean hasPort = bracketed ? text.indexOf("]:") > 0 : colon >= 0 && text.indexOf(':') == colon;
    String host = hasPort ? text.substring(0, colon) : text;
    if (bracketed && host.endsWith("]")) {
      host = host.substring(1, host.length() - 1);
    }
    return new ServerAddress(host, hasPort ? port(text.substring(colon + 1)) : DEFAULT_PORT);
  }

  private static int port(String digits) {
    if (!digits.matches("[0-9]{1,5}")) {
      throw new IllegalArgumentException("port: '" + digits + "' (expected: 1..65535)");
    }
    return Integer.parseInt(digits);
  }

  @Override
  public String toString() {
    return (host.indexOf(':') >= 0 ? "[" + host + "]" : host) + ":" + port;
  }
}
