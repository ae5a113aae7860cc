package io.filterd.kmip;

/** How a key is wrapped (KMIP 1.4 section 9.1.3.2.4). */
public enum WrappingMethod implements KmipEnum {
  ENCRYPT(0x01),
  MAC_SIGN(0x02),
  ENCRYPT_THEN_MAC_SIGN(0x03),
  MAC_SIGN_THEN_ENCRYPT(0x04),
  TR_31(0x05);

  private final int code;

  WrappingMethod(int code) {
    this.code = code;
  }

  @Override
  public int code() {
    return code;
  }
}
