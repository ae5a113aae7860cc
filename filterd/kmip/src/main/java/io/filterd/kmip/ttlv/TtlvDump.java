package io.filterd.kmip.ttlv;

import java.util.EnumSet;
import java.util.HexFormat;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Items as text for logs, one a line, without secrets: of byte strings and big integers it shows
 * the length only, but for a few tags that are known to be harmless; nothing at all of what is in
 * key material and passwords; and no text or bytes of a key block or a credential but the user's
 * name.
 */
public final class TtlvDump {
  private static final int MAX_TEXT_CHARS = 200;
  private static final int MAX_BYTES_SHOWN = 64;

  /** Never shown, whatever type they have, nor what is in them. */
  private static final Set<Tag> SECRET =
      EnumSet.of(
          Tag.KEY_MATERIAL,
          Tag.KEY,
          Tag.PASSWORD,
          Tag.HASHED_PASSWORD,
          Tag.SERVER_HASHED_PASSWORD,
          Tag.ONE_TIME_PASSWORD,
          Tag.TICKET,
          Tag.OPAQUE_DATA_VALUE,
          Tag.DATA);

  /** A key block as a byte string or text is a secret too. */
  private static final Set<Tag> SECRET_UNLESS_STRUCTURE = EnumSet.of(Tag.KEY_VALUE, Tag.KEY_BLOCK);

  /** What is in these is shown only if it is no byte string and no text. */
  private static final Set<Tag> GUARDED =
      EnumSet.of(Tag.AUTHENTICATION, Tag.CREDENTIAL, Tag.KEY_BLOCK, Tag.KEY_VALUE);

  private static final Set<Tag> HARMLESS_BYTES =
      EnumSet.of(
          Tag.UNIQUE_BATCH_ITEM_ID,
          Tag.ASYNCHRONOUS_CORRELATION_VALUE,
          Tag.CORRELATION_VALUE,
          Tag.DIGEST_VALUE);

  private enum Where {
    OPEN,
    GUARDED,
    SECRET
  }

  private TtlvDump() {}

  /** The item and all in it; lines are separated, not ended, by a newline. */
  public static String of(Item item) {
    StringBuilder text = new StringBuilder();
    add(item, 0, Where.OPEN, text);
    return text.toString();
  }

  private static void add(Item item, int indent, Where where, StringBuilder text) {
    if (indent > 0) {
      text.append('\n').append("  ".repeat(indent));
    }
    Tag tag = Tag.of(item.tag());
    text.append(Tag.nameOf(item.tag())).append(' ').append(item.type());
    Where inside = inside(tag, item, where);
    switch (item) {
      case Structure structure ->
          structure.items().forEach(inner -> add(inner, indent + 1, inside, text));
      case Scalar scalar -> text.append(' ').append(value(scalar, inside));
      case Content content -> text.append(' ').append(value(content, tag, inside));
    }
  }

  private static Where inside(@Nullable Tag tag, Item item, Where where) {
    if (where == Where.SECRET || tag == null) {
      return where;
    }
    if (SECRET.contains(tag)
        || (SECRET_UNLESS_STRUCTURE.contains(tag) && !(item instanceof Structure))) {
      return Where.SECRET;
    }
    return GUARDED.contains(tag) ? Where.GUARDED : where;
  }

  private static String value(Scalar scalar, Where where) {
    if (where == Where.SECRET) {
      return "(hidden)";
    }
    return switch (scalar.type()) {
      case ENUMERATION -> "0x%08X".formatted(scalar.value());
      case BOOLEAN -> String.valueOf(scalar.value() != 0);
      default -> String.valueOf(scalar.value());
    };
  }

  private static String value(Content content, @Nullable Tag tag, Where where) {
    boolean text = content.type() == ItemType.TEXT_STRING;
    boolean shown =
        switch (where) {
          case SECRET -> false;
          case GUARDED -> text && tag == Tag.USERNAME;
          case OPEN ->
              text
                  || (tag != null
                      && HARMLESS_BYTES.contains(tag)
                      && content.lengthBytes() <= MAX_BYTES_SHOWN);
        };
    if (!shown) {
      return "(%d bytes hidden)".formatted(content.lengthBytes());
    }
    return text
        ? '"' + Printable.of(content.text(), MAX_TEXT_CHARS) + '"'
        : HexFormat.of().formatHex(content.copyOfBytes());
  }
}
