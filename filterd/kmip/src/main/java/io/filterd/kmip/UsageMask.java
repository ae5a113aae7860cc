package io.filterd.kmip;

/** The bits of a Cryptographic Usage Mask (KMIP 1.4 section 9.1.3.3.1) that concern such keys. */
public final class UsageMask {
  public static final int ENCRYPT = 0x04;
  public static final int DECRYPT = 0x08;
  public static final int WRAP_KEY = 0x10;
  public static final int UNWRAP_KEY = 0x20;
  public static final int EXPORT = 0x40;

  private UsageMask() {}
}
