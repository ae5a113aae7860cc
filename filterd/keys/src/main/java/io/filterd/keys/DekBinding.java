package io.filterd.keys;

import java.nio.charset.StandardCharsets;

/**
 * What a data key belongs to. It is authenticated with the wrapped key, so that a locker that was
 * moved to another disk, link or cipher does not open.
 *
 * @param diskId the disk, a UUID
 * @param linkId the link of the disk's chain, a UUID; also the data key's id in the cache
 * @param cipher the data cipher's name, for example {@value #AES_256_XTS}
 * @param unitBytes the cipher's data unit
 */
public record DekBinding(String diskId, String linkId, String cipher, int unitBytes) {
  /** The name of the only data cipher so far. */
  public static final String AES_256_XTS = "aes-256-xts";

  private static final int MAX_ID_LENGTH = 64;

  /**
   * Checks the parts.
   *
   * @throws IllegalArgumentException if a part is empty, too long, not printable or not positive
   */
  public DekBinding {
    KeyReference.checkText("diskId", diskId, MAX_ID_LENGTH);
    KeyReference.checkText("linkId", linkId, MAX_ID_LENGTH);
    KeyReference.checkText("cipher", cipher, MAX_ID_LENGTH);
    if (unitBytes <= 0) {
      throw new IllegalArgumentException("unitBytes: " + unitBytes + " (expected: positive)");
    }
  }

  /** The associated data of a locker that wraps this data key under {@code kek}: UTF-8 lines. */
  byte[] associatedData(KeyReference kek) {
    return ("filterd-dek-v1\n"
            + ("diskId=" + diskId + "\n")
            + ("linkId=" + linkId + "\n")
            + ("cipher=" + cipher + "\n")
            + ("unitBytes=" + unitBytes + "\n")
            + ("provider=" + kek.provider() + "\n")
            + ("keyId=" + kek.keyId() + "\n"))
        .getBytes(StandardCharsets.UTF_8);
  }
}
