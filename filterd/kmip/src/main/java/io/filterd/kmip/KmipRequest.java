package io.filterd.kmip;

import java.lang.foreign.MemorySegment;
import java.time.Instant;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * One operation that a server is asked for, whatever the version. Goes into a {@link
 * RequestMessage}; its answer comes out of a {@link ResponseMessage}.
 *
 * <p>Identifiers are the server's own words: opaque, 1 to 256 characters. Values that cannot be
 * sent throw {@link IllegalArgumentException}.
 *
 * @param <A> the kind of answer
 */
public sealed interface KmipRequest<A extends KmipAnswer> {
  /** What the server is asked to do. */
  Operation operation();

  /** What the answer is. */
  Class<A> answerType();

  /**
   * Which versions the server speaks (KMIP 1.4 section 4.26; since 1.1).
   *
   * @param versions those the client speaks, best first; none asks for all of the server's
   */
  record DiscoverVersions(List<KmipVersion> versions) implements KmipRequest<KmipAnswer.Versions> {
    public DiscoverVersions {
      versions = List.copyOf(versions);
    }

    @Override
    public Operation operation() {
      return Operation.DISCOVER_VERSIONS;
    }

    @Override
    public Class<KmipAnswer.Versions> answerType() {
      return KmipAnswer.Versions.class;
    }
  }

  /** What the server is and can do (KMIP 1.4 section 4.25). The lists are not to be trusted. */
  record Query(Set<QueryFunction> functions) implements KmipRequest<KmipAnswer.Server> {
    public Query {
      if (functions.isEmpty()) {
        throw new IllegalArgumentException("functions: none (expected: at least one)");
      }
      functions = Set.copyOf(functions);
    }

    /** The functions in the order of their numbers. */
    Set<QueryFunction> inOrder() {
      return EnumSet.copyOf(functions);
    }

    @Override
    public Operation operation() {
      return Operation.QUERY;
    }

    @Override
    public Class<KmipAnswer.Server> answerType() {
      return KmipAnswer.Server.class;
    }
  }

  /**
   * A new symmetric key (KMIP 1.4 section 4.1). Algorithm, length and usage mask should be among
   * the attributes. Not idempotent: if no answer comes, the key may exist.
   */
  record Create(List<Attribute> attributes) implements KmipRequest<KmipAnswer.ObjectId> {
    public Create {
      attributes = List.copyOf(attributes);
    }

    @Override
    public Operation operation() {
      return Operation.CREATE;
    }

    @Override
    public Class<KmipAnswer.ObjectId> answerType() {
      return KmipAnswer.ObjectId.class;
    }
  }

  /**
   * A symmetric key that the client brings (KMIP 1.4 section 4.3), in the raw format.
   *
   * @param key not copied; its owner wipes it when the message is written
   */
  record Register(List<Attribute> attributes, CryptographicAlgorithm algorithm, MemorySegment key)
      implements KmipRequest<KmipAnswer.ObjectId> {
    private static final int MAX_KEY_BYTES = 1 << 16;

    public Register {
      attributes = List.copyOf(attributes);
      if (key.byteSize() == 0 || key.byteSize() > MAX_KEY_BYTES) {
        throw new IllegalArgumentException(
            "key: %d bytes (expected: 1 to %d)".formatted(key.byteSize(), MAX_KEY_BYTES));
      }
    }

    @Override
    public Operation operation() {
      return Operation.REGISTER;
    }

    @Override
    public Class<KmipAnswer.ObjectId> answerType() {
      return KmipAnswer.ObjectId.class;
    }
  }

  /** Makes a key active (KMIP 1.4 section 4.19). Some servers refuse it if the key is active. */
  record Activate(String id) implements KmipRequest<KmipAnswer.ObjectId> {
    public Activate {
      Ids.check(id);
    }

    @Override
    public Operation operation() {
      return Operation.ACTIVATE;
    }

    @Override
    public Class<KmipAnswer.ObjectId> answerType() {
      return KmipAnswer.ObjectId.class;
    }
  }

  /**
   * A key itself (KMIP 1.4 section 4.11).
   *
   * @param format null leaves it to the server, which means the format the key was registered in
   * @param wrapping null asks for the key in the clear
   */
  record Get(String id, @Nullable KeyFormatType format, @Nullable KeyWrapping wrapping)
      implements KmipRequest<KmipAnswer.Key> {
    public Get {
      Ids.check(id);
    }

    /** The key in the clear, in the server's format. */
    public Get(String id) {
      this(id, null, null);
    }

    @Override
    public Operation operation() {
      return Operation.GET;
    }

    @Override
    public Class<KmipAnswer.Key> answerType() {
      return KmipAnswer.Key.class;
    }
  }

  /** Attributes of an object by name; none named asks for all (KMIP 1.4 section 4.12). */
  record GetAttributes(String id, List<String> names) implements KmipRequest<KmipAnswer.Described> {
    public GetAttributes {
      Ids.check(id);
      names = List.copyOf(names);
    }

    @Override
    public Operation operation() {
      return Operation.GET_ATTRIBUTES;
    }

    @Override
    public Class<KmipAnswer.Described> answerType() {
      return KmipAnswer.Described.class;
    }
  }

  /** One more attribute (KMIP 1.4 section 4.14). Many servers refuse custom ones. */
  record AddAttribute(String id, Attribute attribute) implements KmipRequest<KmipAnswer.ObjectId> {
    public AddAttribute {
      Ids.check(id);
    }

    @Override
    public Operation operation() {
      return Operation.ADD_ATTRIBUTE;
    }

    @Override
    public Class<KmipAnswer.ObjectId> answerType() {
      return KmipAnswer.ObjectId.class;
    }
  }

  /** Another value of an attribute that is there (KMIP 1.4 section 4.15). */
  record ModifyAttribute(String id, Attribute attribute)
      implements KmipRequest<KmipAnswer.ObjectId> {
    public ModifyAttribute {
      Ids.check(id);
    }

    @Override
    public Operation operation() {
      return Operation.MODIFY_ATTRIBUTE;
    }

    @Override
    public Class<KmipAnswer.ObjectId> answerType() {
      return KmipAnswer.ObjectId.class;
    }
  }

  /**
   * The objects that have all these attributes (KMIP 1.4 section 4.9). A server may ignore an
   * attribute it does not know, so each hit must be looked at.
   *
   * @param maximumItems the most identifiers to answer; 0 for no limit
   */
  record Locate(int maximumItems, List<Attribute> attributes)
      implements KmipRequest<KmipAnswer.Located> {
    public Locate {
      attributes = List.copyOf(attributes);
      if (maximumItems < 0) {
        throw new IllegalArgumentException(
            "maximumItems: %d (expected: from 0)".formatted(maximumItems));
      }
    }

    @Override
    public Operation operation() {
      return Operation.LOCATE;
    }

    @Override
    public Class<KmipAnswer.Located> answerType() {
      return KmipAnswer.Located.class;
    }
  }

  /**
   * Whether the server's policy allows a use of a key (KMIP 1.4 section 4.10).
   *
   * @param usageMask bits of {@link UsageMask}; 0 to leave it out
   */
  record Check(String id, int usageMask) implements KmipRequest<KmipAnswer.Checked> {
    public Check {
      Ids.check(id);
    }

    @Override
    public Operation operation() {
      return Operation.CHECK;
    }

    @Override
    public Class<KmipAnswer.Checked> answerType() {
      return KmipAnswer.Checked.class;
    }
  }

  /**
   * Makes a key deactivated, or compromised (KMIP 1.4 section 4.20).
   *
   * @param message for people; may be empty
   * @param compromisedAt since when; only, and then needed, if the reason is a compromise
   */
  record Revoke(
      String id, RevocationReasonCode reason, String message, @Nullable Instant compromisedAt)
      implements KmipRequest<KmipAnswer.ObjectId> {
    public Revoke {
      Ids.check(id);
      boolean compromise =
          reason == RevocationReasonCode.KEY_COMPROMISE
              || reason == RevocationReasonCode.CA_COMPROMISE;
      if (compromise != (compromisedAt != null)) {
        throw new IllegalArgumentException(
            "compromisedAt: %s (expected: a time if, and only if, the reason is a compromise)"
                .formatted(compromisedAt));
      }
    }

    @Override
    public Operation operation() {
      return Operation.REVOKE;
    }

    @Override
    public Class<KmipAnswer.ObjectId> answerType() {
      return KmipAnswer.ObjectId.class;
    }
  }

  /** Destroys the key for good (KMIP 1.4 section 4.21). It must not be active. */
  record Destroy(String id) implements KmipRequest<KmipAnswer.ObjectId> {
    public Destroy {
      Ids.check(id);
    }

    @Override
    public Operation operation() {
      return Operation.DESTROY;
    }

    @Override
    public Class<KmipAnswer.ObjectId> answerType() {
      return KmipAnswer.ObjectId.class;
    }
  }

  /**
   * A new key in place of this one, which keeps its material but loses its name (KMIP 1.4 section
   * 4.4). The answer is the new key's identifier.
   *
   * @param offsetSeconds from the new key's creation to its activation, 0 to 2^32-1; -1 leaves it
   *     out
   * @param attributes those in which the new key shall differ
   */
  record ReKey(String id, long offsetSeconds, List<Attribute> attributes)
      implements KmipRequest<KmipAnswer.ObjectId> {
    private static final long MAX_OFFSET_SECONDS = 0xFFFFFFFFL;

    public ReKey {
      Ids.check(id);
      attributes = List.copyOf(attributes);
      if (offsetSeconds < -1 || offsetSeconds > MAX_OFFSET_SECONDS) {
        throw new IllegalArgumentException(
            "offsetSeconds: %d (expected: -1 to %d)".formatted(offsetSeconds, MAX_OFFSET_SECONDS));
      }
    }

    @Override
    public Operation operation() {
      return Operation.REKEY;
    }

    @Override
    public Class<KmipAnswer.ObjectId> answerType() {
      return KmipAnswer.ObjectId.class;
    }
  }
}
