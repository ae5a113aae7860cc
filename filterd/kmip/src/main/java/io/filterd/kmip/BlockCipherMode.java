package io.filterd.kmip;

/** Modes in which a key wraps another (KMIP 1.4 section 9.1.3.2.14). */
public enum BlockCipherMode implements KmipEnum {
  GCM(0x09),
  AES_KEY_WRAP_PADDING(0x0C),
  NIST_KEY_WRAP(0x0D);

  private final int code;

  BlockCipherMode(int code) {
    this.code = code;
  }

  @Override
  public int code() {
    return code;
  }
}
