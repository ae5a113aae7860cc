package io.filterd.kmip;

/** What a server can be asked about itself (KMIP 1.4 section 9.1.3.2.24). */
public enum QueryFunction implements KmipEnum {
  OPERATIONS(0x01),
  OBJECTS(0x02),
  SERVER_INFORMATION(0x03),
  APPLICATION_NAMESPACES(0x04),
  EXTENSION_LIST(0x05),
  EXTENSION_MAP(0x06),
  ATTESTATION_TYPES(0x07),
  RNGS(0x08),
  VALIDATIONS(0x09),
  PROFILES(0x0A),
  CAPABILITIES(0x0B),
  CLIENT_REGISTRATION_METHODS(0x0C),
  DEFAULTS_INFORMATION(0x0D),
  STORAGE_PROTECTION_MASKS(0x0E);

  private final int code;

  QueryFunction(int code) {
    this.code = code;
  }

  @Override
  public int code() {
    return code;
  }
}
