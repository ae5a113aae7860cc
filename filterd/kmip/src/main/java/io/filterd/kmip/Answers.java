package io.filterd.kmip;

import io.filterd.kmip.ttlv.Content;
import io.filterd.kmip.ttlv.Item;
import io.filterd.kmip.ttlv.ItemType;
import io.filterd.kmip.ttlv.Structure;
import io.filterd.kmip.ttlv.Tag;
import io.filterd.kmip.ttlv.TtlvException;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Reads the payloads of answers (KMIP 1.4 section 4, KMIP 2.1 section 6). */
final class Answers {
  /** The longest text for people that is taken from a server, in characters. */
  static final int MAX_WORDS_CHARS = 300;

  private static final int MAX_KEY_BITS = 1 << 23;

  private Answers() {}

  static KmipAnswer read(KmipRequest<?> request, Fields payload) throws TtlvException {
    return switch (request) {
      case KmipRequest.DiscoverVersions _ -> versions(payload);
      case KmipRequest.Query _ ->
          new KmipAnswer.Server(
              payload.enumerations(Tag.OPERATION, Operation.class),
              payload.enumerations(Tag.OBJECT_TYPE, ObjectType.class),
              payload.words(Tag.VENDOR_IDENTIFICATION, MAX_WORDS_CHARS));
      case KmipRequest.Create _ -> created(payload);
      case KmipRequest.Register _ -> newId(payload);
      case KmipRequest.ReKey _ -> newId(payload);
      case KmipRequest.Activate activate -> sameId(payload, activate.id());
      case KmipRequest.AddAttribute add -> sameId(payload, add.id());
      case KmipRequest.ModifyAttribute modify -> sameId(payload, modify.id());
      case KmipRequest.Revoke revoke -> sameId(payload, revoke.id());
      case KmipRequest.Destroy destroy -> sameId(payload, destroy.id());
      case KmipRequest.Get get -> key(payload, get);
      case KmipRequest.GetAttributes get ->
          new KmipAnswer.Described(sameId(payload, get.id()).id(), Attributes.read(payload));
      case KmipRequest.Locate _ ->
          new KmipAnswer.Located(
              payload.names(Tag.UNIQUE_IDENTIFIER),
              payload.integer(Tag.LOCATED_ITEMS, 0, Integer.MAX_VALUE, -1));
      case KmipRequest.Check check ->
          new KmipAnswer.Checked(
              sameId(payload, check.id()).id(),
              payload.integer(
                  Tag.CRYPTOGRAPHIC_USAGE_MASK, Integer.MIN_VALUE, Integer.MAX_VALUE, 0));
    };
  }

  private static KmipAnswer.Versions versions(Fields payload) throws TtlvException {
    List<KmipVersion> versions = new ArrayList<>();
    for (Fields version : payload.structures(Tag.PROTOCOL_VERSION)) {
      versions.add(ResponseMessage.version(version));
    }
    return new KmipAnswer.Versions(List.copyOf(versions));
  }

  private static KmipAnswer.ObjectId created(Fields payload) throws TtlvException {
    EnumValue<ObjectType> type = payload.enumeration(Tag.OBJECT_TYPE, ObjectType.class);
    if (!type.is(ObjectType.SYMMETRIC_KEY)) {
      throw payload.wrong(Tag.OBJECT_TYPE, type.toString(), ObjectType.SYMMETRIC_KEY.toString());
    }
    return newId(payload);
  }

  private static KmipAnswer.ObjectId newId(Fields payload) throws TtlvException {
    return new KmipAnswer.ObjectId(payload.name(Tag.UNIQUE_IDENTIFIER));
  }

  /** An answer about another object than the one asked for must never be taken for it. */
  private static KmipAnswer.ObjectId sameId(Fields payload, String asked) throws TtlvException {
    String id = payload.name(Tag.UNIQUE_IDENTIFIER);
    if (!id.equals(asked)) {
      throw payload.wrong(Tag.UNIQUE_IDENTIFIER, id, asked);
    }
    return new KmipAnswer.ObjectId(id);
  }

  private static KmipAnswer.Key key(Fields payload, KmipRequest.Get get) throws TtlvException {
    String id = sameId(payload, get.id()).id();
    EnumValue<ObjectType> type = payload.enumeration(Tag.OBJECT_TYPE, ObjectType.class);
    ObjectType known = type.known();
    Tag tag =
        switch (known) {
          case SYMMETRIC_KEY -> Tag.SYMMETRIC_KEY;
          case SECRET_DATA -> Tag.SECRET_DATA;
          case null, default ->
              throw payload.wrong(Tag.OBJECT_TYPE, type.toString(), "SYMMETRIC_KEY or SECRET_DATA");
        };
    Fields block = payload.structure(tag).structure(Tag.KEY_BLOCK);
    EnumValue<KeyFormatType> format = block.enumeration(Tag.KEY_FORMAT_TYPE, KeyFormatType.class);
    if (block.has(Tag.KEY_COMPRESSION_TYPE)) {
      throw block.wrong(Tag.KEY_COMPRESSION_TYPE, "one", "a key that is not compressed");
    }
    Fields wrappingData = block.optionalStructure(Tag.KEY_WRAPPING_DATA);
    KeyWrapping wrapping = wrappingData == null ? null : wrapping(wrappingData);
    if ((get.wrapping() == null) != (wrapping == null)) {
      throw wrapping == null
          ? block.wrong("a key in the clear", "a wrapped one, as asked for")
          : block.wrong(Tag.KEY_WRAPPING_DATA, "a wrapped key", "one in the clear");
    }
    MemorySegment material = material(block, wrapping != null);
    int lengthBits = block.integer(Tag.CRYPTOGRAPHIC_LENGTH, 1, MAX_KEY_BITS, 0);
    @Nullable EnumValue<CryptographicAlgorithm> algorithm =
        block.optionalEnumeration(Tag.CRYPTOGRAPHIC_ALGORITHM, CryptographicAlgorithm.class);
    if (wrapping == null && lengthBits != 0) {
      checkLength(block, algorithm, lengthBits, material.byteSize() * Byte.SIZE);
    }
    return new KmipAnswer.Key(known, id, format, algorithm, lengthBits, material, wrapping);
  }

  private static void checkLength(
      Fields block,
      @Nullable EnumValue<CryptographicAlgorithm> algorithm,
      int lengthBits,
      long materialBits)
      throws TtlvException {
    CryptographicAlgorithm known = algorithm == null ? null : algorithm.known();
    boolean parity = known != null && known.hasParity();
    if (lengthBits != materialBits && !(parity && lengthBits == materialBits / 8 * 7)) {
      throw block.wrong(
          Tag.CRYPTOGRAPHIC_LENGTH,
          "%d bits".formatted(lengthBits),
          "%d, as much as the key material".formatted(materialBits));
    }
  }

  /**
   * Key Value is a structure whose Key Material is bytes, or a structure with a Key (the
   * transparent format), or, wrapped with TTLV encoding, bytes as a whole.
   */
  private static MemorySegment material(Fields block, boolean wrapped) throws TtlvException {
    Item value = block.optional(Tag.KEY_VALUE);
    if (value != null && value.type() == ItemType.BYTE_STRING && wrapped) {
      return notEmpty(block, Tag.KEY_VALUE, (Content) value);
    }
    Fields inner = block.structure(Tag.KEY_VALUE);
    Item material = inner.optional(Tag.KEY_MATERIAL);
    if (material instanceof Structure) {
      Fields transparent = inner.structure(Tag.KEY_MATERIAL);
      return notEmpty(transparent, Tag.KEY, transparent.optionalBytes(Tag.KEY));
    }
    return notEmpty(inner, Tag.KEY_MATERIAL, inner.optionalBytes(Tag.KEY_MATERIAL));
  }

  private static MemorySegment notEmpty(Fields fields, Tag tag, @Nullable Content bytes)
      throws TtlvException {
    if (bytes == null || bytes.lengthBytes() == 0) {
      throw fields.wrong(tag, "no bytes", "a key");
    }
    return bytes.bytes();
  }

  private static KeyWrapping wrapping(Fields data) throws TtlvException {
    Fields key = data.optionalStructure(Tag.ENCRYPTION_KEY_INFORMATION);
    Fields parameters = key == null ? null : key.optionalStructure(Tag.CRYPTOGRAPHIC_PARAMETERS);
    return new KeyWrapping(
        data.enumeration(Tag.WRAPPING_METHOD, WrappingMethod.class),
        key == null ? null : key.name(Tag.UNIQUE_IDENTIFIER),
        parameters == null
            ? null
            : parameters.optionalEnumeration(Tag.BLOCK_CIPHER_MODE, BlockCipherMode.class),
        data.optionalEnumeration(Tag.ENCODING_OPTION, EncodingOption.class));
  }
}
