package io.filterd.kmip;

import io.filterd.kmip.ttlv.Item;
import io.filterd.kmip.ttlv.ItemType;
import io.filterd.kmip.ttlv.Scalar;
import io.filterd.kmip.ttlv.Structure;
import io.filterd.kmip.ttlv.Tag;
import io.filterd.kmip.ttlv.TtlvException;
import java.time.DateTimeException;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * Attributes of a managed object as a server gives them. It leaves out those it does not have or
 * does not know; and one whose value has the wrong type counts as absent.
 */
public record Attributes(List<Attribute> all) {
  /** Copies the list. */
  public Attributes {
    all = List.copyOf(all);
  }

  /** The first of this name ("Cryptographic Length", "x-Product"). */
  public Optional<Attribute> first(String name) {
    return all.stream()
        .filter(attribute -> attribute.vendor().isEmpty() && attribute.name().equals(name))
        .findFirst();
  }

  /** The text of a text attribute, for instance of a custom one. */
  public Optional<String> text(String name) {
    return first(name)
        .filter(attribute -> attribute.value().type() == ItemType.TEXT_STRING)
        .map(Attribute::text);
  }

  /** The key's state. */
  public Optional<EnumValue<State>> state() {
    return scalar(Tag.STATE, ItemType.ENUMERATION)
        .map(value -> EnumValue.of(value.intValue(), State.class));
  }

  /** What the key is for. */
  public Optional<EnumValue<CryptographicAlgorithm>> algorithm() {
    return scalar(Tag.CRYPTOGRAPHIC_ALGORITHM, ItemType.ENUMERATION)
        .map(value -> EnumValue.of(value.intValue(), CryptographicAlgorithm.class));
  }

  /** The key's length in bits. */
  public OptionalInt lengthBits() {
    return integer(Tag.CRYPTOGRAPHIC_LENGTH);
  }

  /** What the key may do, bits of {@link UsageMask}. */
  public OptionalInt usageMask() {
    return integer(Tag.CRYPTOGRAPHIC_USAGE_MASK);
  }

  /** The object's names. */
  public List<String> names() {
    return all.stream()
        .filter(attribute -> attribute.name().equals("Name"))
        .filter(attribute -> attribute.value() instanceof Structure)
        .map(Attribute::text)
        .toList();
  }

  /** A date: INITIAL_DATE, ACTIVATION_DATE, PROTECT_STOP_DATE, DEACTIVATION_DATE and so on. */
  public Optional<Instant> date(Tag tag) {
    return scalar(tag, ItemType.DATE_TIME)
        .flatMap(
            value -> {
              try {
                return Optional.of(Instant.ofEpochSecond(value.value()));
              } catch (DateTimeException outsideOfTime) {
                return Optional.empty();
              }
            });
  }

  private OptionalInt integer(Tag tag) {
    return scalar(tag, ItemType.INTEGER)
        .map(value -> OptionalInt.of(value.intValue()))
        .orElse(OptionalInt.empty());
  }

  private Optional<Scalar> scalar(Tag tag, ItemType type) {
    return first(AttributeNames.nameOf(tag))
        .map(Attribute::value)
        .filter(value -> value.type() == type)
        .map(Scalar.class::cast);
  }

  /** TemplateAttribute in KMIP 1.x, Attributes in 2.x. */
  static Structure toItem(List<Attribute> attributes, KmipVersion version) {
    Tag tag = version.tagsAttributes() ? Tag.ATTRIBUTES : Tag.TEMPLATE_ATTRIBUTE;
    return Item.structure(tag, toItems(attributes, version));
  }

  static List<Item> toItems(List<Attribute> attributes, KmipVersion version) {
    return attributes.stream().map(attribute -> attribute.toItem(version)).toList();
  }

  /** Attributes in a payload, in whichever form they are. */
  static Attributes read(Fields payload) throws TtlvException {
    List<Attribute> all = new ArrayList<>();
    for (Fields attribute : payload.structures(Tag.ATTRIBUTE)) {
      all.add(Attribute.read(attribute));
    }
    Fields tagged = payload.optionalStructure(Tag.ATTRIBUTES);
    if (tagged != null) {
      for (Fields attribute : tagged.structures(Tag.ATTRIBUTE)) {
        all.add(Attribute.read(attribute));
      }
      for (Item item : tagged.items()) {
        if (!item.is(Tag.ATTRIBUTE)) {
          all.add(Attribute.readTagged(item));
        }
      }
    }
    return new Attributes(all);
  }
}
