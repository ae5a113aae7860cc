package io.filterd.kmip;

/** Why a key is revoked (KMIP 1.4 section 9.1.3.2.19). */
public enum RevocationReasonCode implements KmipEnum {
  UNSPECIFIED(0x01),
  KEY_COMPROMISE(0x02),
  CA_COMPROMISE(0x03),
  AFFILIATION_CHANGED(0x04),
  SUPERSEDED(0x05),
  CESSATION_OF_OPERATION(0x06),
  PRIVILEGE_WITHDRAWN(0x07);

  private final int code;

  RevocationReasonCode(int code) {
    this.code = code;
  }

  @Override
  public int code() {
    return code;
  }
}
