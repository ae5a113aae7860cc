package io.filterd.kmip;

import io.filterd.kmip.ttlv.Printable;

/** Identifiers of objects in requests. */
final class Ids {
  private Ids() {}

  static void check(String id) {
    if (id.isEmpty()
        || id.length() > Fields.MAX_NAME_CHARS
        || !id.codePoints().allMatch(Printable::isVisible)) {
      throw new IllegalArgumentException(
          "id: \"%s\" (expected: 1 to %d characters, none of them a control)"
              .formatted(Printable.of(id, 64), Fields.MAX_NAME_CHARS));
    }
  }
}
