package io.filterd.kmip.client;

import io.filterd.kmip.Attribute;
import io.filterd.kmip.CryptographicAlgorithm;
import io.filterd.kmip.UsageMask;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;

/**
 * An AES key to be made.
 *
 * @param name by which the key is found again if the answer to its making is lost: use each name
 *     once, see {@link #aes256}; 1..64 characters out of letters, digits and {@code _.-}
 * @param lengthBits 128, 192 or 256
 * @param usageMask bits of {@link UsageMask}
 * @param more attributes such as an object group or an operation policy name, which some servers
 *     need for others to read the key
 */
public record KeySpec(String name, int lengthBits, int usageMask, List<Attribute> more) {
  /** Checks name and length. */
  public KeySpec {
    if (!name.matches("[A-Za-z0-9_.-]{1,64}")) {
      throw new IllegalArgumentException(
          "name: '" + name + "' (expected: 1..64 letters, digits, '_', '.' or '-')");
    }
    if (lengthBits != 128 && lengthBits != 192 && lengthBits != 256) {
      throw new IllegalArgumentException(
          "lengthBits: " + lengthBits + " (expected: 128, 192 or 256)");
    }
    more = List.copyOf(more);
  }

  /** A key to encrypt and decrypt with, of 256 bits, named by a new UUID: taken everywhere. */
  public static KeySpec aes256() {
    return new KeySpec(
        "filterd-" + UUID.randomUUID(), 256, UsageMask.ENCRYPT | UsageMask.DECRYPT, List.of());
  }

  /** The same with more attributes. */
  public KeySpec with(List<Attribute> attributes) {
    return new KeySpec(name, lengthBits, usageMask, attributes);
  }

  /** The same with another usage mask. */
  public KeySpec withUsageMask(int other) {
    return new KeySpec(name, lengthBits, other, more);
  }

  List<Attribute> attributes() {
    List<Attribute> all = new ArrayList<>();
    all.add(Attribute.algorithm(CryptographicAlgorithm.AES));
    all.add(Attribute.usageMask(usageMask));
    all.add(Attribute.length(lengthBits));
    all.add(Attribute.name(name));
    all.addAll(more);
    return all;
  }
}
