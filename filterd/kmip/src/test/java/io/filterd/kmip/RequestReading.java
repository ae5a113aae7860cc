package io.filterd.kmip;

import io.filterd.kmip.ttlv.Content;
import io.filterd.kmip.ttlv.Item;
import io.filterd.kmip.ttlv.Scalar;
import io.filterd.kmip.ttlv.Structure;
import io.filterd.kmip.ttlv.Tag;
import io.filterd.kmip.ttlv.TtlvException;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * A server's view: what a request in a message asks for, as far as this library has a word for it.
 */
final class RequestReading {
  private final Fields payload;

  private RequestReading(Fields payload) {
    this.payload = payload;
  }

  /** The request in a batch item, or null if it asks for what the library cannot ask for. */
  static @Nullable KmipRequest<?> of(Fields batchItem) throws TtlvException {
    Operation operation = batchItem.enumeration(Tag.OPERATION, Operation.class).known();
    return operation == null
        ? null
        : new RequestReading(batchItem.structure(Tag.REQUEST_PAYLOAD)).request(operation);
  }

  private @Nullable KmipRequest<?> request(Operation operation) throws TtlvException {
    return switch (operation) {
      case DISCOVER_VERSIONS -> {
        List<KmipVersion> versions = new ArrayList<>();
        for (Fields version : payload.structures(Tag.PROTOCOL_VERSION)) {
          versions.add(ResponseMessage.version(version));
        }
        yield new KmipRequest.DiscoverVersions(versions);
      }
      case QUERY -> {
        Set<QueryFunction> functions = new LinkedHashSet<>();
        for (EnumValue<QueryFunction> function :
            payload.enumerations(Tag.QUERY_FUNCTION, QueryFunction.class)) {
          functions.add(Objects.requireNonNull(function.known()));
        }
        yield functions.isEmpty() ? null : new KmipRequest.Query(functions);
      }
      case CREATE ->
          payload.enumeration(Tag.OBJECT_TYPE, ObjectType.class).is(ObjectType.SYMMETRIC_KEY)
              ? new KmipRequest.Create(template())
              : null;
      case REGISTER -> register();
      case ACTIVATE -> hasId() ? new KmipRequest.Activate(id()) : null;
      case GET -> hasId() ? get() : null;
      case GET_ATTRIBUTES -> hasId() ? new KmipRequest.GetAttributes(id(), names()) : null;
      case ADD_ATTRIBUTE ->
          hasId() && payload.has(Tag.ATTRIBUTE)
              ? new KmipRequest.AddAttribute(id(), Attribute.read(payload.structure(Tag.ATTRIBUTE)))
              : null;
      case MODIFY_ATTRIBUTE ->
          hasId() && payload.has(Tag.ATTRIBUTE)
              ? new KmipRequest.ModifyAttribute(
                  id(), Attribute.read(payload.structure(Tag.ATTRIBUTE)))
              : null;
      case LOCATE ->
          new KmipRequest.Locate(
              payload.integer(Tag.MAXIMUM_ITEMS, 0, Integer.MAX_VALUE, 0),
              Attributes.read(payload).all());
      case CHECK ->
          hasId()
              ? new KmipRequest.Check(
                  id(), payload.integer(Tag.CRYPTOGRAPHIC_USAGE_MASK, 0, Integer.MAX_VALUE, 0))
              : null;
      case REVOKE -> hasId() && payload.has(Tag.REVOCATION_REASON) ? revoke() : null;
      case DESTROY -> hasId() ? new KmipRequest.Destroy(id()) : null;
      case REKEY ->
          hasId()
              ? new KmipRequest.ReKey(
                  id(),
                  payload.optional(Tag.OFFSET) instanceof Scalar offset ? offset.value() : -1,
                  template())
              : null;
      default -> null;
    };
  }

  private boolean hasId() {
    return payload.has(Tag.UNIQUE_IDENTIFIER);
  }

  private String id() throws TtlvException {
    return payload.name(Tag.UNIQUE_IDENTIFIER);
  }

  private List<Attribute> template() throws TtlvException {
    Fields template = payload.optionalStructure(Tag.TEMPLATE_ATTRIBUTE);
    return template == null ? Attributes.read(payload).all() : Attributes.read(template).all();
  }

  private List<String> names() throws TtlvException {
    List<String> names = new ArrayList<>(payload.names(Tag.ATTRIBUTE_NAME));
    for (Item item : payload.items()) {
      if (item.is(Tag.ATTRIBUTE_REFERENCE) && item instanceof Scalar reference) {
        names.add(AttributeNames.nameOf(Objects.requireNonNull(Tag.of(reference.intValue()))));
      }
    }
    return names;
  }

  private @Nullable KmipRequest<?> register() throws TtlvException {
    if (!payload.enumeration(Tag.OBJECT_TYPE, ObjectType.class).is(ObjectType.SYMMETRIC_KEY)) {
      return null;
    }
    Fields block = payload.structure(Tag.SYMMETRIC_KEY).structure(Tag.KEY_BLOCK);
    CryptographicAlgorithm algorithm =
        block.has(Tag.CRYPTOGRAPHIC_ALGORITHM)
            ? block.enumeration(Tag.CRYPTOGRAPHIC_ALGORITHM, CryptographicAlgorithm.class).known()
            : null;
    if (algorithm == null
        || !block.enumeration(Tag.KEY_FORMAT_TYPE, KeyFormatType.class).is(KeyFormatType.RAW)
        || block.has(Tag.KEY_WRAPPING_DATA)
        || !block.has(Tag.KEY_VALUE)
        || !(block.structure(Tag.KEY_VALUE).optional(Tag.KEY_MATERIAL)
            instanceof Content material)) {
      return null;
    }
    return new KmipRequest.Register(template(), algorithm, material.bytes());
  }

  private @Nullable KmipRequest<?> get() throws TtlvException {
    KeyFormatType format =
        payload.has(Tag.KEY_FORMAT_TYPE)
            ? payload.enumeration(Tag.KEY_FORMAT_TYPE, KeyFormatType.class).known()
            : null;
    if (format == null && payload.has(Tag.KEY_FORMAT_TYPE)) {
      return null;
    }
    Fields specification = payload.optionalStructure(Tag.KEY_WRAPPING_SPECIFICATION);
    KeyWrapping wrapping = null;
    if (specification != null) {
      Fields key = specification.optionalStructure(Tag.ENCRYPTION_KEY_INFORMATION);
      if (key == null || specification.has(Tag.ATTRIBUTE_NAME)) {
        return null;
      }
      Fields parameters = key.optionalStructure(Tag.CRYPTOGRAPHIC_PARAMETERS);
      wrapping =
          new KeyWrapping(
              specification.enumeration(Tag.WRAPPING_METHOD, WrappingMethod.class),
              key.name(Tag.UNIQUE_IDENTIFIER),
              parameters == null
                  ? null
                  : parameters.optionalEnumeration(Tag.BLOCK_CIPHER_MODE, BlockCipherMode.class),
              specification.optionalEnumeration(Tag.ENCODING_OPTION, EncodingOption.class));
    }
    return new KmipRequest.Get(id(), format, wrapping);
  }

  private KmipRequest<?> revoke() throws TtlvException {
    Fields reason = payload.structure(Tag.REVOCATION_REASON);
    Item date = payload.optional(Tag.COMPROMISE_OCCURRENCE_DATE);
    return new KmipRequest.Revoke(
        id(),
        Objects.requireNonNull(
            reason.enumeration(Tag.REVOCATION_REASON_CODE, RevocationReasonCode.class).known()),
        reason.words(Tag.REVOCATION_MESSAGE, 1_000),
        date == null ? null : Instant.ofEpochSecond(((Scalar) date).value()));
  }

  /** The requests of a message, with null for what the library has no word for. */
  static List<@Nullable KmipRequest<?>> all(Structure message) throws TtlvException {
    List<@Nullable KmipRequest<?>> all = new ArrayList<>();
    for (Fields item : Fields.message(message, Tag.REQUEST_MESSAGE).structures(Tag.BATCH_ITEM)) {
      all.add(of(item));
    }
    return all;
  }
}
