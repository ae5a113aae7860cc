package io.filterd.kmip;

/** States of a key (KMIP 1.4 section 3.22). Only an active one may protect new data. */
public enum State implements KmipEnum {
  PRE_ACTIVE(0x01),
  ACTIVE(0x02),
  DEACTIVATED(0x03),
  COMPROMISED(0x04),
  DESTROYED(0x05),
  DESTROYED_COMPROMISED(0x06);

  private final int code;

  State(int code) {
    this.code = code;
  }

  @Override
  public int code() {
    return code;
  }
}
