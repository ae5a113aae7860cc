package io.filterd.kmip;

/** What is wrapped: the key alone, or its item (KMIP 1.4 section 9.1.3.2.32). */
public enum EncodingOption implements KmipEnum {
  NO_ENCODING(0x01),
  TTLV_ENCODING(0x02);

  private final int code;

  EncodingOption(int code) {
    this.code = code;
  }

  @Override
  public int code() {
    return code;
  }
}
