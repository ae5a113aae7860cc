package io.filterd.kmip;

import io.filterd.kmip.ttlv.Content;
import io.filterd.kmip.ttlv.Item;
import io.filterd.kmip.ttlv.ItemType;
import io.filterd.kmip.ttlv.Scalar;
import io.filterd.kmip.ttlv.Structure;
import io.filterd.kmip.ttlv.Tag;
import io.filterd.kmip.ttlv.TtlvException;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;

/**
 * An attribute of a managed object, in the words of KMIP 1.x (1.4 section 3) whatever the version
 * on the wire: "Cryptographic Length", "State", "x-Product".
 *
 * @param vendor who defined it, in KMIP 2.x; empty for standard ones and those of 1.x, whose names
 *     begin with "x-" (client's) or "y-" (server's)
 * @param name 1 to 256 characters
 * @param index which of several with the same name, from 0; only KMIP 1.x knows it
 * @param value an item under the tag AttributeValue
 */
public record Attribute(String vendor, String name, int index, Item value) {
  private static final int UNINTERPRETED_TEXT = 1;

  /** Checks the name, and puts the value under its tag. */
  public Attribute {
    checkName(vendor, name);
    if (index < 0) {
      throw new IllegalArgumentException("%s: index %d (expected: from 0)".formatted(name, index));
    }
    value = Items.withTag(value, Tag.ATTRIBUTE_VALUE);
  }

  private static void checkName(String vendor, String name) {
    if (name.isEmpty()
        || name.length() > Fields.MAX_NAME_CHARS
        || vendor.length() > Fields.MAX_NAME_CHARS) {
      throw new IllegalArgumentException(
          "attribute: a name of %d, a vendor of %d characters (expected: 1 to %d, 0 to %d)"
              .formatted(
                  name.length(), vendor.length(), Fields.MAX_NAME_CHARS, Fields.MAX_NAME_CHARS));
    }
  }

  private static Attribute standard(Item value) {
    Tag tag = Objects.requireNonNull(Tag.of(value.tag()));
    return new Attribute("", AttributeNames.nameOf(tag), 0, value);
  }

  /** What the key is for. */
  public static Attribute algorithm(CryptographicAlgorithm algorithm) {
    return standard(Item.enumeration(Tag.CRYPTOGRAPHIC_ALGORITHM, algorithm.code()));
  }

  /** The key's length in bits. */
  public static Attribute length(int bits) {
    return standard(Item.integer(Tag.CRYPTOGRAPHIC_LENGTH, bits));
  }

  /** What the key may do, bits of {@link UsageMask}. */
  public static Attribute usageMask(int mask) {
    return standard(Item.integer(Tag.CRYPTOGRAPHIC_USAGE_MASK, mask));
  }

  /** A name; servers differ on whether it must be unique. */
  public static Attribute name(String text) {
    return standard(
        Item.structure(
            Tag.NAME,
            Item.text(Tag.NAME_VALUE, text),
            Item.enumeration(Tag.NAME_TYPE, UNINTERPRETED_TEXT)));
  }

  /** A state, to locate keys by. */
  public static Attribute state(State state) {
    return standard(Item.enumeration(Tag.STATE, state.code()));
  }

  /** A kind of objects, to locate them by. */
  public static Attribute objectType(ObjectType type) {
    return standard(Item.enumeration(Tag.OBJECT_TYPE, type.code()));
  }

  /** A group the object belongs to. */
  public static Attribute objectGroup(String group) {
    return standard(Item.text(Tag.OBJECT_GROUP, group));
  }

  /** The server's policy for access to the object: KMIP 1.x only, deprecated since 1.3. */
  public static Attribute operationPolicyName(String policy) {
    return standard(Item.text(Tag.OPERATION_POLICY_NAME, policy));
  }

  /** Data of an application under a namespace. */
  public static Attribute applicationSpecificInformation(String namespace, String data) {
    return standard(
        Item.structure(
            Tag.APPLICATION_SPECIFIC_INFORMATION,
            Item.text(Tag.APPLICATION_NAMESPACE, namespace),
            Item.text(Tag.APPLICATION_DATA, data)));
  }

  /** An attribute of the client's own. The name begins with "x-". */
  public static Attribute custom(String name, String text) {
    if (!name.startsWith("x-")) {
      throw new IllegalArgumentException(name + " (expected: a name that begins with x-)");
    }
    return new Attribute("", name, 0, Item.text(Tag.ATTRIBUTE_VALUE, text));
  }

  /** As it is named in KMIP 2.x: who defined it, and what is left of the name. */
  private record VendorName(String vendor, String name) {
    static VendorName of(String vendor, String name) {
      boolean prefixed = name.length() > 2 && (name.startsWith("x-") || name.startsWith("y-"));
      return vendor.isEmpty() && prefixed
          ? new VendorName(name.substring(0, 1), name.substring(2))
          : new VendorName(vendor, name);
    }
  }

  /** The item in this version (KMIP 1.4 section 2.1.1, KMIP 2.1 section 4). */
  Item toItem(KmipVersion version) {
    if (!version.tagsAttributes()) {
      List<Item> items = new ArrayList<>();
      items.add(Item.text(Tag.ATTRIBUTE_NAME, name));
      if (index > 0) {
        items.add(Item.integer(Tag.ATTRIBUTE_INDEX, index));
      }
      items.add(value);
      return Item.structure(Tag.ATTRIBUTE, items);
    }
    VendorName full = VendorName.of(vendor, name);
    if (!full.vendor().isEmpty()) {
      return Item.structure(
          Tag.ATTRIBUTE,
          Item.text(Tag.VENDOR_IDENTIFICATION, full.vendor()),
          Item.text(Tag.ATTRIBUTE_NAME, full.name()),
          value);
    }
    return Items.withTag(value, standardTag(name));
  }

  private static Tag standardTag(String name) {
    Tag tag = AttributeNames.tagOf(name);
    if (tag == null) {
      throw new IllegalArgumentException(
          name + " (expected: a standard attribute, or one that begins with x-)");
    }
    return tag;
  }

  /**
   * The item that asks for the attribute of this name (KMIP 1.4 section 4.12, 2.1 section 6.1.19).
   */
  static Item reference(String name, KmipVersion version) {
    checkName("", name);
    if (!version.tagsAttributes()) {
      return Item.text(Tag.ATTRIBUTE_NAME, name);
    }
    VendorName full = VendorName.of("", name);
    return full.vendor().isEmpty()
        ? Item.enumeration(Tag.ATTRIBUTE_REFERENCE, standardTag(name).code())
        : Item.structure(
            Tag.ATTRIBUTE_REFERENCE,
            Item.text(Tag.VENDOR_IDENTIFICATION, full.vendor()),
            Item.text(Tag.ATTRIBUTE_NAME, full.name()));
  }

  /** A structure Attribute as the one or the other version has it; a copy without the message. */
  static Attribute read(Fields fields) throws TtlvException {
    Item value = fields.optional(Tag.ATTRIBUTE_VALUE);
    if (value == null) {
      throw fields.wrong("no AttributeValue", "one");
    }
    String name = fields.name(Tag.ATTRIBUTE_NAME);
    int index = fields.integer(Tag.ATTRIBUTE_INDEX, 0, Integer.MAX_VALUE, 0);
    String vendor =
        fields.has(Tag.VENDOR_IDENTIFICATION) ? fields.name(Tag.VENDOR_IDENTIFICATION) : "";
    boolean prefix = vendor.equals("x") || vendor.equals("y");
    if (prefix && name.length() + 2 > Fields.MAX_NAME_CHARS) {
      throw fields.wrong(
          Tag.ATTRIBUTE_NAME,
          "%d characters".formatted(name.length()),
          "at most " + (Fields.MAX_NAME_CHARS - 2));
    }
    return prefix
        ? new Attribute("", vendor + "-" + name, index, Items.detached(value))
        : new Attribute(vendor, name, index, Items.detached(value));
  }

  /** An item under its own tag, as KMIP 2.x has standard attributes; a copy without the message. */
  static Attribute readTagged(Item item) {
    Tag tag = Tag.of(item.tag());
    String name = tag == null ? Tag.nameOf(item.tag()) : AttributeNames.nameOf(tag);
    return new Attribute("", name, 0, Items.detached(item));
  }

  /** The value of a text attribute, or of a Name; else its type and length, never bytes. */
  String text() {
    return switch (value) {
      case Content content when content.type() == ItemType.TEXT_STRING -> content.text();
      case Structure structure
          when structure.first(Tag.NAME_VALUE) instanceof Content content
              && content.type() == ItemType.TEXT_STRING ->
          content.text();
      case Scalar scalar -> String.valueOf(scalar.value());
      default -> value.type().toString();
    };
  }
}
