package io.filterd.kmip;

import org.jspecify.annotations.Nullable;

/**
 * How a key shall be, or is, wrapped by another key of the server (KMIP 1.4 sections 2.1.5, 2.1.6).
 *
 * @param keyId the wrapping key; null if the server does not say
 * @param mode null means the wrapping key's default
 * @param encoding null means {@link EncodingOption#TTLV_ENCODING}; KMIP 1.1 and later
 */
public record KeyWrapping(
    EnumValue<WrappingMethod> method,
    @Nullable String keyId,
    @Nullable EnumValue<BlockCipherMode> mode,
    @Nullable EnumValue<EncodingOption> encoding) {

  /** AES key wrap (RFC 3394) of the bare key: what servers support best. */
  public static KeyWrapping aesKeyWrap(String keyId) {
    return new KeyWrapping(
        EnumValue.of(WrappingMethod.ENCRYPT),
        keyId,
        EnumValue.of(BlockCipherMode.NIST_KEY_WRAP),
        EnumValue.of(EncodingOption.NO_ENCODING));
  }
}
