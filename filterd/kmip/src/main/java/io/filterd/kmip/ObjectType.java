package io.filterd.kmip;

/** Kinds of managed objects (KMIP 1.4 section 9.1.3.2.12). */
public enum ObjectType implements KmipEnum {
  CERTIFICATE(0x01),
  SYMMETRIC_KEY(0x02),
  PUBLIC_KEY(0x03),
  PRIVATE_KEY(0x04),
  SPLIT_KEY(0x05),
  TEMPLATE(0x06),
  SECRET_DATA(0x07),
  OPAQUE_OBJECT(0x08),
  PGP_KEY(0x09),
  CERTIFICATE_REQUEST(0x0A);

  private final int code;

  ObjectType(int code) {
    this.code = code;
  }

  @Override
  public int code() {
    return code;
  }
}
