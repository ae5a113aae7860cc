package io.filterd.keys.pkcs11;

/** A function of a PKCS#11 module did not return {@code CKR_OK}. */
final class CryptokiException extends Exception {
  private static final long serialVersionUID = 1L;

  private final ReturnValue value;

  CryptokiException(String function, long code) {
    super(function + ": " + ReturnValue.text(code) + " (expected: CKR_OK)");
    this.value = ReturnValue.of(code);
  }

  CryptokiException(String function, ReturnValue value) {
    super(function + ": CKR_" + value + " (expected: CKR_OK)");
    this.value = value;
  }

  /** What it returned instead. */
  ReturnValue value() {
    return value;
  }
}
