package io.filterd.kmip;

import io.filterd.kmip.ttlv.Item;
import io.filterd.kmip.ttlv.Structure;
import io.filterd.kmip.ttlv.Tag;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;

/** Writes the payloads of requests (KMIP 1.4 section 4, KMIP 2.1 section 6); order matters. */
final class Payloads {
  private final KmipVersion version;
  private final List<Item> items = new ArrayList<>();

  private Payloads(KmipVersion version) {
    this.version = version;
  }

  static Structure of(KmipRequest<?> request, KmipVersion version) {
    Payloads payload = new Payloads(version);
    payload.add(request);
    return Item.structure(Tag.REQUEST_PAYLOAD, payload.items);
  }

  private void add(KmipRequest<?> request) {
    switch (request) {
      case KmipRequest.DiscoverVersions discover ->
          discover.versions().forEach(each -> items.add(RequestMessage.toItem(each)));
      case KmipRequest.Query query ->
          query
              .inOrder()
              .forEach(each -> items.add(Item.enumeration(Tag.QUERY_FUNCTION, each.code())));
      case KmipRequest.Create create -> {
        symmetricKey();
        items.add(Attributes.toItem(create.attributes(), version));
      }
      case KmipRequest.Register register -> {
        symmetricKey();
        items.add(Attributes.toItem(register.attributes(), version));
        items.add(keyOf(register));
      }
      case KmipRequest.Activate activate -> id(activate.id());
      case KmipRequest.Get get -> get(get);
      case KmipRequest.GetAttributes get -> {
        id(get.id());
        get.names().forEach(name -> items.add(Attribute.reference(name, version)));
      }
      case KmipRequest.AddAttribute add -> change(add.id(), add.attribute());
      case KmipRequest.ModifyAttribute modify -> change(modify.id(), modify.attribute());
      case KmipRequest.Locate locate -> locate(locate);
      case KmipRequest.Check check -> {
        id(check.id());
        if (check.usageMask() != 0) {
          items.add(Item.integer(Tag.CRYPTOGRAPHIC_USAGE_MASK, check.usageMask()));
        }
      }
      case KmipRequest.Revoke revoke -> revoke(revoke);
      case KmipRequest.Destroy destroy -> id(destroy.id());
      case KmipRequest.ReKey reKey -> {
        id(reKey.id());
        if (reKey.offsetSeconds() >= 0) {
          items.add(Item.interval(Tag.OFFSET, reKey.offsetSeconds()));
        }
        if (!reKey.attributes().isEmpty()) {
          items.add(Attributes.toItem(reKey.attributes(), version));
        }
      }
    }
  }

  private void id(String id) {
    items.add(Item.text(Tag.UNIQUE_IDENTIFIER, id));
  }

  private void symmetricKey() {
    items.add(Item.enumeration(Tag.OBJECT_TYPE, ObjectType.SYMMETRIC_KEY.code()));
  }

  private static Item keyOf(KmipRequest.Register register) {
    int bits = Math.toIntExact(register.key().byteSize() * Byte.SIZE);
    int lengthBits = register.algorithm().hasParity() ? bits / 8 * 7 : bits;
    return Item.structure(
        Tag.SYMMETRIC_KEY,
        Item.structure(
            Tag.KEY_BLOCK,
            Item.enumeration(Tag.KEY_FORMAT_TYPE, KeyFormatType.RAW.code()),
            Item.structure(Tag.KEY_VALUE, Item.bytes(Tag.KEY_MATERIAL, register.key())),
            Item.enumeration(Tag.CRYPTOGRAPHIC_ALGORITHM, register.algorithm().code()),
            Item.integer(Tag.CRYPTOGRAPHIC_LENGTH, lengthBits)));
  }

  private void get(KmipRequest.Get get) {
    id(get.id());
    if (get.format() != null) {
      items.add(Item.enumeration(Tag.KEY_FORMAT_TYPE, get.format().code()));
    }
    KeyWrapping wrapping = get.wrapping();
    if (wrapping == null) {
      return;
    }
    List<Item> wrappingKey = new ArrayList<>();
    wrappingKey.add(
        Item.text(
            Tag.UNIQUE_IDENTIFIER, Objects.requireNonNull(wrapping.keyId(), "wrapping.keyId")));
    if (wrapping.mode() != null) {
      wrappingKey.add(
          Item.structure(
              Tag.CRYPTOGRAPHIC_PARAMETERS,
              Item.enumeration(Tag.BLOCK_CIPHER_MODE, wrapping.mode().code())));
    }
    List<Item> specification = new ArrayList<>();
    specification.add(Item.enumeration(Tag.WRAPPING_METHOD, wrapping.method().code()));
    specification.add(Item.structure(Tag.ENCRYPTION_KEY_INFORMATION, wrappingKey));
    if (wrapping.encoding() != null) {
      specification.add(Item.enumeration(Tag.ENCODING_OPTION, wrapping.encoding().code()));
    }
    items.add(Item.structure(Tag.KEY_WRAPPING_SPECIFICATION, specification));
  }

  private void change(String id, Attribute attribute) {
    id(id);
    Item item = attribute.toItem(version);
    items.add(version.tagsAttributes() ? Item.structure(Tag.NEW_ATTRIBUTE, item) : item);
  }

  private void locate(KmipRequest.Locate locate) {
    if (locate.maximumItems() > 0) {
      items.add(Item.integer(Tag.MAXIMUM_ITEMS, locate.maximumItems()));
    }
    if (version.tagsAttributes()) {
      items.add(Attributes.toItem(locate.attributes(), version));
    } else {
      items.addAll(Attributes.toItems(locate.attributes(), version));
    }
  }

  private void revoke(KmipRequest.Revoke revoke) {
    id(revoke.id());
    List<Item> reason = new ArrayList<>();
    reason.add(Item.enumeration(Tag.REVOCATION_REASON_CODE, revoke.reason().code()));
    if (!revoke.message().isEmpty()) {
      reason.add(Item.text(Tag.REVOCATION_MESSAGE, revoke.message()));
    }
    items.add(Item.structure(Tag.REVOCATION_REASON, reason));
    if (revoke.compromisedAt() != null) {
      items.add(
          Item.dateTime(Tag.COMPROMISE_OCCURRENCE_DATE, revoke.compromisedAt().getEpochSecond()));
    }
  }
}
