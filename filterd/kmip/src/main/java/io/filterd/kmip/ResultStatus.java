package io.filterd.kmip;

/** How an operation ended (KMIP 1.4 section 9.1.3.2.28). */
public enum ResultStatus implements KmipEnum {
  SUCCESS(0x00),
  OPERATION_FAILED(0x01),
  OPERATION_PENDING(0x02),
  OPERATION_UNDONE(0x03);

  private final int code;

  ResultStatus(int code) {
    this.code = code;
  }

  @Override
  public int code() {
    return code;
  }
}
