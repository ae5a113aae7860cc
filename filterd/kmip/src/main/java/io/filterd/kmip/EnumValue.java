package io.filterd.kmip;

import org.jspecify.annotations.Nullable;

/**
 * A value of an enumeration as a server sent it: one we know, or the number of one we do not.
 *
 * @param code the number on the wire, 32 bits unsigned
 * @param known the constant of this number, or null
 */
public record EnumValue<E extends Enum<E> & KmipEnum>(int code, @Nullable E known) {
  /** The value of this number. */
  public static <E extends Enum<E> & KmipEnum> EnumValue<E> of(int code, Class<E> type) {
    for (E constant : type.getEnumConstants()) {
      if (constant.code() == code) {
        return new EnumValue<>(code, constant);
      }
    }
    return new EnumValue<>(code, null);
  }

  /** The value of this constant. */
  public static <E extends Enum<E> & KmipEnum> EnumValue<E> of(E constant) {
    return new EnumValue<>(constant.code(), constant);
  }

  /** Whether this is that constant. */
  public boolean is(E constant) {
    return known == constant;
  }

  @Override
  public String toString() {
    return known == null ? "0x%02X".formatted(code) : known.name();
  }
}
