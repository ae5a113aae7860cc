package io.filterd.kmip;

/** Algorithms a key may be for (KMIP 1.4 section 9.1.3.2.13), those for data only. */
public enum CryptographicAlgorithm implements KmipEnum {
  DES(0x01),
  TRIPLE_DES(0x02),
  AES(0x03),
  HMAC_SHA1(0x07),
  HMAC_SHA256(0x09),
  HMAC_SHA384(0x0A),
  HMAC_SHA512(0x0B),
  CHACHA20(0x1C),
  CHACHA20_POLY1305(0x1E);

  private final int code;

  CryptographicAlgorithm(int code) {
    this.code = code;
  }

  @Override
  public int code() {
    return code;
  }

  /** Whether keys have a bit of parity in each byte, which does not count in their length. */
  boolean hasParity() {
    return this == DES || this == TRIPLE_DES;
  }
}
