package io.filterd.kmip;

import io.filterd.kmip.ttlv.Content;
import io.filterd.kmip.ttlv.Item;
import io.filterd.kmip.ttlv.Scalar;
import io.filterd.kmip.ttlv.Structure;
import io.filterd.kmip.ttlv.Tag;
import java.lang.foreign.MemorySegment;

/** Items made of items. */
final class Items {
  private Items() {}

  /** The same value under another tag. */
  static Item withTag(Item item, Tag tag) {
    return switch (item) {
      case Structure structure -> new Structure(tag.code(), structure.items());
      case Scalar scalar -> new Scalar(tag.code(), scalar.type(), scalar.value());
      case Content content -> new Content(tag.code(), content.type(), content.bytes());
    };
  }

  /** A copy that does not need the message any more, on the heap: not for secrets. */
  static Item detached(Item item) {
    return switch (item) {
      case Structure structure ->
          new Structure(structure.tag(), structure.items().stream().map(Items::detached).toList());
      case Scalar scalar -> scalar;
      case Content content ->
          new Content(content.tag(), content.type(), MemorySegment.ofArray(content.copyOfBytes()));
    };
  }
}
