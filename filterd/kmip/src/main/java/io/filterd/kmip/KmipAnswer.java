package io.filterd.kmip;

import java.lang.foreign.MemorySegment;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What a server answers to a request that succeeded. All but {@link Key} are copies; identifiers
 * and names in them are 1 to 256 characters without controls.
 */
public sealed interface KmipAnswer {
  /** The versions the server speaks, its best first; may be empty. */
  record Versions(List<KmipVersion> versions) implements KmipAnswer {}

  /**
   * What the server says of itself.
   *
   * @param vendor its maker's words, printable, at most 300 characters; may be empty
   */
  record Server(
      List<EnumValue<Operation>> operations, List<EnumValue<ObjectType>> objects, String vendor)
      implements KmipAnswer {
    /** Whether the operation is in the list. */
    public boolean lists(Operation operation) {
      return operations.stream().anyMatch(listed -> listed.is(operation));
    }
  }

  /** The object that was made or changed. */
  record ObjectId(String id) implements KmipAnswer {}

  /** An object's attributes. */
  record Described(String id, Attributes attributes) implements KmipAnswer {}

  /**
   * What was found.
   *
   * @param total how many there are in all, which may be more than the identifiers; -1 if not said
   */
  record Located(List<String> ids, int total) implements KmipAnswer {}

  /**
   * What the policy says.
   *
   * @param refusedUsageMask those of the asked bits that are not allowed, as far as the server says
   */
  record Checked(String id, int refusedUsageMask) implements KmipAnswer {}

  /**
   * A key.
   *
   * <p>{@code material} is a read-only view of the message: it is the secret itself, and the only
   * copy. The caller copies it to where it is kept, then wipes the message. In the clear (no {@code
   * wrapping}) its length was compared with {@code lengthBits}.
   *
   * @param type SYMMETRIC_KEY or SECRET_DATA
   * @param algorithm null if the server does not say
   * @param lengthBits of the key, not of its wrapped form; 0 if the server does not say
   * @param wrapping how it is wrapped; null if it is in the clear
   */
  record Key(
      ObjectType type,
      String id,
      EnumValue<KeyFormatType> format,
      @Nullable EnumValue<CryptographicAlgorithm> algorithm,
      int lengthBits,
      MemorySegment material,
      @Nullable KeyWrapping wrapping)
      implements KmipAnswer {
    /** Nothing of the material but its length. */
    @Override
    public String toString() {
      return "Key[%s, id=%s, format=%s, algorithm=%s, %d bits, %d bytes, wrapping=%s]"
          .formatted(type, id, format, algorithm, lengthBits, material.byteSize(), wrapping);
    }
  }
}
