package io.filterd.kmip;

/** Forms of key material (KMIP 1.4 section 9.1.3.2.3), those of symmetric keys only. */
public enum KeyFormatType implements KmipEnum {
  RAW(0x01),
  OPAQUE(0x02),
  TRANSPARENT_SYMMETRIC_KEY(0x07);

  private final int code;

  KeyFormatType(int code) {
    this.code = code;
  }

  @Override
  public int code() {
    return code;
  }
}
