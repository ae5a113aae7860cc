package io.filterd.vmdk;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;

/**
 * What a disk's descriptor says of its encryption: everything that it takes to open the disk,
 * besides the key-encryption key. The module's {@code docs/format.md} describes it for others.
 *
 * @param version the version of this description: 1
 * @param cipher {@code aes-256-xts}
 * @param unitBytes the size of a data unit: 512 or 4096
 * @param diskId the disk's id, a UUID in lower case
 * @param linkId the link's id, a UUID in lower case: also the id of its data key
 * @param keySafe the wrapped data key: one locker, or two during a rewrap, either of which opens
 *     the disk
 */
public record EncryptionMetadata(
    int version, String cipher, int unitBytes, String diskId, String linkId, List<Locker> keySafe) {
  /** The version that is written, and the only one that is read. */
  public static final int VERSION = 1;

  /** The only cipher there is. */
  public static final String AES_256_XTS = "aes-256-xts";

  /** The most lockers: the old one and the new one. */
  public static final int LOCKER_LIMIT = 2;

  private static final String PREFIX = "filterd.";
  private static final String VERSION_KEY = PREFIX + "version";
  private static final String CIPHER_KEY = PREFIX + "cipher";
  private static final String UNIT_BYTES_KEY = PREFIX + "unitBytes";
  private static final String DISK_ID_KEY = PREFIX + "diskId";
  private static final String LINK_ID_KEY = PREFIX + "linkId";
  private static final String KEY_SAFE_PREFIX = PREFIX + "keySafe.";
  private static final List<String> KEYS =
      List.of(VERSION_KEY, CIPHER_KEY, UNIT_BYTES_KEY, DISK_ID_KEY, LINK_ID_KEY);
  private static final Pattern UUID =
      Pattern.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}");

  /** Checks the rules of the parameters. */
  public EncryptionMetadata {
    keySafe = List.copyOf(keySafe);
    if (version != VERSION) {
      throw new IllegalArgumentException("version: " + version + " (expected: " + VERSION + ")");
    }
    if (!cipher.equals(AES_256_XTS)) {
      throw new IllegalArgumentException("cipher: " + cipher + " (expected: " + AES_256_XTS + ")");
    }
    if (unitBytes != 512 && unitBytes != 4096) {
      throw new IllegalArgumentException("unitBytes: " + unitBytes + " (expected: 512 or 4096)");
    }
    if (!UUID.matcher(diskId).matches() || !UUID.matcher(linkId).matches()) {
      throw new IllegalArgumentException(
          "diskId, linkId: " + diskId + ", " + linkId + " (expected: UUIDs in lower case)");
    }
    if (keySafe.isEmpty() || keySafe.size() > LOCKER_LIMIT) {
      throw new IllegalArgumentException(
          "keySafe: " + keySafe.size() + " lockers (expected: 1.." + LOCKER_LIMIT + ")");
    }
  }

  /** The metadata for new encryption by the only cipher there is. */
  public static EncryptionMetadata of(
      int unitBytes, String diskId, String linkId, Locker... lockers) {
    return new EncryptionMetadata(
        VERSION, AES_256_XTS, unitBytes, diskId, linkId, List.of(lockers));
  }

  /** The same with another key safe. */
  public EncryptionMetadata withKeySafe(List<Locker> lockers) {
    return new EncryptionMetadata(version, cipher, unitBytes, diskId, linkId, lockers);
  }

  /** What {@code descriptor} says; empty if it says nothing, so that the disk is not encrypted. */
  public static Optional<EncryptionMetadata> from(Descriptor descriptor) throws FormatException {
    List<String> lockerKeys = descriptor.ddbKeys(KEY_SAFE_PREFIX);
    boolean any = !lockerKeys.isEmpty();
    for (String key : KEYS) {
      any |= descriptor.ddb(key).isPresent();
    }
    if (!any) {
      return Optional.empty();
    }
    // A half description is damage, and must not make the disk look like a plain one.
    if (!required(descriptor, VERSION_KEY).equals(Integer.toString(VERSION))) {
      throw descriptor.badDdb(
          VERSION_KEY, required(descriptor, VERSION_KEY), VERSION + ", all this version can read");
    }
    if (!required(descriptor, CIPHER_KEY).equals(AES_256_XTS)) {
      throw descriptor.badDdb(CIPHER_KEY, required(descriptor, CIPHER_KEY), AES_256_XTS);
    }
    String unit = required(descriptor, UNIT_BYTES_KEY);
    if (!unit.equals("512") && !unit.equals("4096")) {
      throw descriptor.badDdb(UNIT_BYTES_KEY, unit, "512 or 4096");
    }
    if (lockerKeys.isEmpty() || lockerKeys.size() > LOCKER_LIMIT) {
      throw descriptor.badDdb(
          KEY_SAFE_PREFIX + "0", lockerKeys.size() + " lockers", "1.." + LOCKER_LIMIT);
    }
    List<Locker> lockers = new ArrayList<>();
    for (int i = 0; i < lockerKeys.size(); i++) {
      String key = KEY_SAFE_PREFIX + i;
      lockers.add(Locker.parse(descriptor, key, required(descriptor, key)));
    }
    return Optional.of(
        new EncryptionMetadata(
            VERSION,
            AES_256_XTS,
            Integer.parseInt(unit),
            uuid(descriptor, DISK_ID_KEY),
            uuid(descriptor, LINK_ID_KEY),
            lockers));
  }

  /** {@code descriptor} with its encryption described by this, whatever it said before. */
  public Descriptor writeTo(Descriptor descriptor) {
    Descriptor changed =
        descriptor
            .withDdb(VERSION_KEY, Integer.toString(version))
            .withDdb(CIPHER_KEY, cipher)
            .withDdb(UNIT_BYTES_KEY, Integer.toString(unitBytes))
            .withDdb(DISK_ID_KEY, diskId)
            .withDdb(LINK_ID_KEY, linkId);
    for (int i = 0; i < keySafe.size(); i++) {
      changed = changed.withDdb(KEY_SAFE_PREFIX + i, keySafe.get(i).format());
    }
    for (int i = keySafe.size(); i < LOCKER_LIMIT; i++) {
      changed = changed.withoutDdb(KEY_SAFE_PREFIX + i);
    }
    return changed;
  }

  /** {@code descriptor} as that of a disk that is not encrypted. */
  public static Descriptor removeFrom(Descriptor descriptor) {
    Descriptor changed = descriptor;
    for (String key : KEYS) {
      changed = changed.withoutDdb(key);
    }
    for (String key : descriptor.ddbKeys(KEY_SAFE_PREFIX)) {
      changed = changed.withoutDdb(key);
    }
    return changed;
  }

  private static String required(Descriptor descriptor, String key) throws FormatException {
    Optional<String> value = descriptor.ddb(key);
    if (value.isEmpty()) {
      throw descriptor.badDdb(key, "none", "an entry, as other entries say the disk is encrypted");
    }
    return value.get();
  }

  private static String uuid(Descriptor descriptor, String key) throws FormatException {
    String text = required(descriptor, key);
    if (!UUID.matcher(text).matches()) {
      throw descriptor.badDdb(key, text, "a UUID in lower case");
    }
    return text;
  }
}
