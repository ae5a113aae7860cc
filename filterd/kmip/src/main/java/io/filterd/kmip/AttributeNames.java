package io.filterd.kmip;

import io.filterd.kmip.ttlv.Tag;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** Standard attributes: names in KMIP 1.x, tags in 2.x. The one is made from the other. */
final class AttributeNames {
  private static final Map<String, Tag> BY_NAME = new HashMap<>();

  static {
    for (Tag tag : Tag.values()) {
      BY_NAME.put(nameOf(tag), tag);
    }
  }

  private AttributeNames() {}

  /** "Cryptographic Usage Mask" of CRYPTOGRAPHIC_USAGE_MASK. */
  static String nameOf(Tag tag) {
    return Arrays.stream(tag.name().split("_"))
        .map(word -> word.charAt(0) + word.substring(1).toLowerCase(Locale.ROOT))
        .collect(Collectors.joining(" "));
  }

  /** The tag of a standard attribute, or null. */
  static @Nullable Tag tagOf(String name) {
    return BY_NAME.get(name);
  }
}
