package io.filterd.kmip;

import io.filterd.kmip.ttlv.Content;
import io.filterd.kmip.ttlv.Item;
import io.filterd.kmip.ttlv.ItemType;
import io.filterd.kmip.ttlv.Printable;
import io.filterd.kmip.ttlv.Scalar;
import io.filterd.kmip.ttlv.Structure;
import io.filterd.kmip.ttlv.Tag;
import io.filterd.kmip.ttlv.TtlvException;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A structure of a received message, and where it is: gives its fields by tag, checked, and says of
 * a wrong one where it stands. What it is not asked for it ignores: newer minor versions add
 * fields.
 */
final class Fields {
  /** The longest identifier or name that is taken from a server, in characters. */
  static final int MAX_NAME_CHARS = 256;

  private final Structure structure;
  private final int byteOffset;
  private final String path;

  private Fields(Structure structure, int byteOffset, String path) {
    this.structure = structure;
    this.byteOffset = byteOffset;
    this.path = path;
  }

  /** The outermost structure of a message. */
  static Fields message(Item item, Tag expected) throws TtlvException {
    if (!(item instanceof Structure message) || !item.is(expected)) {
      throw new TtlvException(
          0, Tag.nameOf(item.tag()), item.type().toString(), "a structure " + expected);
    }
    return new Fields(message, 0, expected.toString());
  }

  /** Something wrong with this structure as a whole. */
  TtlvException wrong(String actual, String expected) {
    return new TtlvException(byteOffset, path, actual, expected);
  }

  /** Something wrong with a field of it, which may be absent. */
  TtlvException wrong(Tag tag, String actual, String expected) {
    Item item = structure.first(tag);
    return item == null
        ? wrong("no " + tag, expected)
        : new TtlvException(offsetOf(item), path + "/" + tag, actual, expected);
  }

  // The very item is looked for: there may be equal ones before it.
  @SuppressWarnings("ReferenceEquality")
  private int offsetOf(Item wanted) {
    int offset = byteOffset + Item.HEADER_BYTES;
    for (Item item : structure.items()) {
      if (item == wanted) {
        break;
      }
      offset += item.encodedBytes();
    }
    return offset;
  }

  private Fields inside(Structure inner) {
    return new Fields(inner, offsetOf(inner), path + "/" + Tag.nameOf(inner.tag()));
  }

  List<Item> items() {
    return structure.items();
  }

  boolean has(Tag tag) {
    return structure.first(tag) != null;
  }

  /** The only field with this tag, or null. */
  @Nullable Item optional(Tag tag) throws TtlvException {
    Item found = null;
    for (Item item : structure.items()) {
      if (item.is(tag)) {
        if (found != null) {
          throw new TtlvException(offsetOf(item), path + "/" + tag, "a second one", "one");
        }
        found = item;
      }
    }
    return found;
  }

  private @Nullable Item optional(Tag tag, ItemType type) throws TtlvException {
    Item item = optional(tag);
    if (item != null && item.type() != type) {
      throw wrong(tag, item.type().toString(), type.toString());
    }
    return item;
  }

  private <T> T required(Tag tag, @Nullable T value) throws TtlvException {
    if (value == null) {
      throw wrong("no " + tag, "one");
    }
    return value;
  }

  Fields structure(Tag tag) throws TtlvException {
    return required(tag, optionalStructure(tag));
  }

  @Nullable Fields optionalStructure(Tag tag) throws TtlvException {
    return optional(tag, ItemType.STRUCTURE) instanceof Structure inner ? inside(inner) : null;
  }

  /** All structures with this tag. */
  List<Fields> structures(Tag tag) throws TtlvException {
    List<Fields> all = new ArrayList<>();
    for (Item item : structure.items()) {
      if (item.is(tag)) {
        if (!(item instanceof Structure inner)) {
          throw new TtlvException(
              offsetOf(item), path + "/" + tag, item.type().toString(), "a Structure");
        }
        all.add(inside(inner));
      }
    }
    return all;
  }

  int integer(Tag tag, int least, int most) throws TtlvException {
    Item item = required(tag, optional(tag, ItemType.INTEGER));
    int value = ((Scalar) item).intValue();
    if (value < least || value > most) {
      throw wrong(tag, String.valueOf(value), "%d to %d".formatted(least, most));
    }
    return value;
  }

  int integer(Tag tag, int least, int most, int ifAbsent) throws TtlvException {
    return has(tag) ? integer(tag, least, most) : ifAbsent;
  }

  <E extends Enum<E> & KmipEnum> EnumValue<E> enumeration(Tag tag, Class<E> type)
      throws TtlvException {
    return required(tag, optionalEnumeration(tag, type));
  }

  <E extends Enum<E> & KmipEnum> @Nullable EnumValue<E> optionalEnumeration(Tag tag, Class<E> type)
      throws TtlvException {
    return optional(tag, ItemType.ENUMERATION) instanceof Scalar value
        ? EnumValue.of(value.intValue(), type)
        : null;
  }

  /** All values with this tag. */
  <E extends Enum<E> & KmipEnum> List<EnumValue<E>> enumerations(Tag tag, Class<E> type)
      throws TtlvException {
    List<EnumValue<E>> all = new ArrayList<>();
    for (Item item : structure.items()) {
      if (item.is(tag)) {
        if (item.type() != ItemType.ENUMERATION) {
          throw new TtlvException(
              offsetOf(item), path + "/" + tag, item.type().toString(), "an Enumeration");
        }
        all.add(EnumValue.of(((Scalar) item).intValue(), type));
      }
    }
    return all;
  }

  /** An identifier or name: not empty, of bounded length, without control characters. */
  String name(Tag tag) throws TtlvException {
    Item item = required(tag, optional(tag, ItemType.TEXT_STRING));
    return checkedName((Content) item);
  }

  /** The same for all fields with this tag. */
  List<String> names(Tag tag) throws TtlvException {
    List<String> all = new ArrayList<>();
    for (Item item : structure.items()) {
      if (item.is(tag)) {
        if (item.type() != ItemType.TEXT_STRING) {
          throw new TtlvException(
              offsetOf(item), path + "/" + tag, item.type().toString(), "a TextString");
        }
        all.add(checkedName((Content) item));
      }
    }
    return all;
  }

  private String checkedName(Content item) throws TtlvException {
    // Four bytes a character at most: no long String is made of what is too long anyway.
    String text = item.lengthBytes() <= 4 * MAX_NAME_CHARS ? item.text() : "";
    String problem = "";
    if (text.isEmpty() || text.length() > MAX_NAME_CHARS) {
      problem = "%d bytes".formatted(item.lengthBytes());
    } else if (!text.codePoints().allMatch(Printable::isVisible)) {
      problem = text;
    }
    if (!problem.isEmpty()) {
      throw new TtlvException(
          offsetOf(item),
          path + "/" + Tag.nameOf(item.tag()),
          problem,
          "1 to %d characters, none of them a control".formatted(MAX_NAME_CHARS));
    }
    return text;
  }

  /** A text for people, made printable and cut; empty if absent. */
  String words(Tag tag, int maxChars) throws TtlvException {
    return optional(tag, ItemType.TEXT_STRING) instanceof Content text
        ? Printable.of(text.text(), maxChars)
        : "";
  }

  /** A byte string, or null. */
  @Nullable Content optionalBytes(Tag tag) throws TtlvException {
    return (Content) optional(tag, ItemType.BYTE_STRING);
  }
}
