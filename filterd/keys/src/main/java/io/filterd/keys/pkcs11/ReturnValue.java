package io.filterd.keys.pkcs11;

import io.filterd.keys.KeyException.Reason;

/** What functions of PKCS#11 modules return, and what a caller can do about it (section 5.1). */
enum ReturnValue {
  OK(0, Kind.BUG),
  HOST_MEMORY(2, Kind.UNAVAILABLE),
  SLOT_ID_INVALID(3, Kind.LOST),
  GENERAL_ERROR(5, Kind.LOST),
  FUNCTION_FAILED(6, Kind.LOST),
  ATTRIBUTE_READ_ONLY(0x10, Kind.DENIED),
  ATTRIBUTE_TYPE_INVALID(0x12, Kind.UNSUPPORTED),
  ATTRIBUTE_VALUE_INVALID(0x13, Kind.UNSUPPORTED),
  ACTION_PROHIBITED(0x1b, Kind.DENIED),
  DEVICE_ERROR(0x30, Kind.LOST),
  DEVICE_MEMORY(0x31, Kind.UNAVAILABLE),
  DEVICE_REMOVED(0x32, Kind.LOST),
  ENCRYPTED_DATA_INVALID(0x40, Kind.NOT_AUTHENTIC),
  ENCRYPTED_DATA_LEN_RANGE(0x41, Kind.NOT_AUTHENTIC),
  AEAD_DECRYPT_FAILED(0x42, Kind.NOT_AUTHENTIC),
  FUNCTION_NOT_SUPPORTED(0x54, Kind.UNSUPPORTED),
  KEY_HANDLE_INVALID(0x60, Kind.LOST),
  KEY_SIZE_RANGE(0x62, Kind.UNSUPPORTED),
  KEY_TYPE_INCONSISTENT(0x63, Kind.UNSUPPORTED),
  KEY_FUNCTION_NOT_PERMITTED(0x68, Kind.DENIED),
  MECHANISM_INVALID(0x70, Kind.UNSUPPORTED),
  MECHANISM_PARAM_INVALID(0x71, Kind.UNSUPPORTED),
  OBJECT_HANDLE_INVALID(0x82, Kind.LOST),
  PIN_INCORRECT(0xa0, Kind.PIN_REFUSED),
  PIN_INVALID(0xa1, Kind.PIN_REFUSED),
  PIN_LEN_RANGE(0xa2, Kind.PIN_REFUSED),
  PIN_EXPIRED(0xa3, Kind.PIN_REFUSED),
  PIN_LOCKED(0xa4, Kind.PIN_REFUSED),
  SESSION_CLOSED(0xb0, Kind.LOST),
  SESSION_COUNT(0xb1, Kind.UNAVAILABLE),
  SESSION_HANDLE_INVALID(0xb3, Kind.LOST),
  TEMPLATE_INCOMPLETE(0xd0, Kind.UNSUPPORTED),
  TEMPLATE_INCONSISTENT(0xd1, Kind.UNSUPPORTED),
  TOKEN_NOT_PRESENT(0xe0, Kind.LOST),
  TOKEN_NOT_RECOGNIZED(0xe1, Kind.LOST),
  TOKEN_WRITE_PROTECTED(0xe2, Kind.DENIED),
  USER_ALREADY_LOGGED_IN(0x100, Kind.BUG),
  USER_NOT_LOGGED_IN(0x101, Kind.LOST),
  USER_PIN_NOT_INITIALIZED(0x102, Kind.DENIED),
  USER_ANOTHER_ALREADY_LOGGED_IN(0x104, Kind.DENIED),
  CRYPTOKI_NOT_INITIALIZED(0x190, Kind.LOST),
  CRYPTOKI_ALREADY_INITIALIZED(0x191, Kind.BUG),
  /** Any other, for example a vendor's own. */
  OTHER(-1, Kind.UNAVAILABLE);

  /** What follows from a value. */
  enum Kind {
    /** Sessions or the token are gone: once more with new sessions. */
    LOST(Reason.UNAVAILABLE),
    UNAVAILABLE(Reason.UNAVAILABLE),
    /** Never tried again with the same PIN: the token would lock itself. */
    PIN_REFUSED(Reason.DENIED),
    DENIED(Reason.DENIED),
    UNSUPPORTED(Reason.UNSUPPORTED),
    NOT_AUTHENTIC(Reason.WRONG_KEY),
    BUG(Reason.PROTOCOL);

    private final Reason reason;

    Kind(Reason reason) {
      this.reason = reason;
    }

    Reason reason() {
      return reason;
    }
  }

  private final long code;
  private final Kind kind;

  ReturnValue(long code, Kind kind) {
    this.code = code;
    this.kind = kind;
  }

  Kind kind() {
    return kind;
  }

  static ReturnValue of(long code) {
    for (ReturnValue value : values()) {
      if (value.code == code) {
        return value;
      }
    }
    return OTHER;
  }

  /** The name that the standard gives to a code, or the code. */
  static String text(long code) {
    ReturnValue value = of(code);
    return value == OTHER ? "CKR 0x%08X".formatted(code) : "CKR_" + value;
  }
}
