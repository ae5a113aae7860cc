package io.filterd.daemon;

import io.filterd.nbd.Client;
import java.util.List;

/**
 * What some clients may do with some exports.
 *
 * @param who the clients
 * @param exports patterns of names: {@code *} is any run of characters, {@code ?} any one
 * @param allow what they may do
 */
record AccessRule(Who who, List<String> exports, Allow allow) {
  /** What a client may do with an export. */
  enum Allow {
    NONE,
    READ_ONLY,
    READ_WRITE
  }

  /** Some clients. */
  sealed interface Who {}

  /** Who has shown a certificate whose subject is like this, as RFC 2253 writes it. */
  record TlsSubject(String pattern) implements Who {}

  /** Who has proven to know the pre-shared key of a name like this. */
  record PskIdentity(String pattern) implements Who {}

  /** Who has come by a Unix socket as this user. */
  record UnixUser(int uid) implements Who {}

  /** Everybody. */
  record Anyone() implements Who {}

  /** Keeps a copy of the patterns. */
  AccessRule {
    exports = List.copyOf(exports);
  }

  boolean isAbout(Client client) {
    return switch (who) {
      case TlsSubject(String pattern) ->
          client.identity() instanceof Client.Identity.Certificate(String subject, String _)
              && matches(pattern, subject);
      case PskIdentity(String pattern) ->
          client.identity() instanceof Client.Identity.PreSharedKey(String name)
              && matches(pattern, name);
      case UnixUser(int uid) ->
          client.origin() instanceof Client.Origin.Unix(int _, int actual, int _) && actual == uid;
      case Anyone() -> true;
    };
  }

  /** Whether only clients in TLS can be meant. */
  boolean needsTls() {
    return who instanceof TlsSubject || who instanceof PskIdentity;
  }

  boolean isAbout(String export) {
    return exports.stream().anyMatch(pattern -> matches(pattern, export));
  }

  /** Whether a text is like a pattern; takes time in proportion to the product of their lengths. */
  static boolean matches(String pattern, String text) {
    int p = 0;
    int t = 0;
    int star = -1;
    int behindStar = 0;
    while (t < text.length()) {
      if (p < pattern.length() && pattern.charAt(p) == '*') {
        star = p++;
        behindStar = t;
      } else if (p < pattern.length()
          && (pattern.charAt(p) == '?' || pattern.charAt(p) == text.charAt(t))) {
        p++;
        t++;
      } else if (star >= 0) {
        // The last star takes one more; what those before it took may stay.
        p = star + 1;
        t = ++behindStar;
      } else {
        return false;
      }
    }
    while (p < pattern.length() && pattern.charAt(p) == '*') {
      p++;
    }
    return p == pattern.length();
  }
}
