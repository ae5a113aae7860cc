package io.filterd.vmdk;

import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;

/** Refuses the disks that are VMDKs, but can't be read here, each with its reason. */
final class ReadableKinds {
  private static final Set<String> DEVICES =
      Set.of(
          "fulldevice",
          "partitioneddevice",
          "vmfsraw",
          "vmfsrdm",
          "vmfsrdmp",
          "vmfsrawdevicemap",
          "vmfspassthroughrawdevicemap");

  private static final String FILTER_OF_VMWARE = "vmwarevmcrypt";
  private static final String SECTOR_SIZE = "logicalSectorSize";

  private ReadableKinds() {}

  /** Checks what the descriptor says of the disk as a whole. */
  static void check(Descriptor descriptor) throws FormatException {
    checkType(descriptor);
    checkPlain(descriptor);
    Optional<String> sectorSize = descriptor.ddb(SECTOR_SIZE);
    if (sectorSize.isPresent() && !sectorSize.get().equals("512")) {
      // A partition table counts in sectors: with others it names other places.
      throw descriptor.badDdb(
          SECTOR_SIZE, sectorSize.get(), "512: disks with other sectors can't be served");
    }
  }

  private static void checkType(Descriptor descriptor) throws FormatException {
    String type = descriptor.createType().toLowerCase(Locale.ROOT);
    if (DEVICES.contains(type)) {
      throw badType(descriptor, "a disk in files; this one is on a device: copy it on its host");
    }
    if (type.equals("vsansparse")) {
      throw badType(descriptor, "a disk in files; this one is a vSAN object: export it there");
    }
    if (type.equals("custom")) {
      throw badType(descriptor, "a type that says how the disk is stored");
    }
  }

  private static FormatException badType(Descriptor descriptor, String expected) {
    return descriptor.badHeader("createType", descriptor.createType(), expected);
  }

  /** Refuses what VMware encrypted; names the keys, and nothing else of what it says of them. */
  private static void checkPlain(Descriptor descriptor) throws FormatException {
    Optional<String> locators = descriptor.header("encryptionKeys");
    Optional<String> keyId =
        descriptor.header("keyID").filter(id -> id.chars().anyMatch(c -> c != '0'));
    boolean filtered =
        descriptor.ddb("iofilters").filter(f -> f.contains(FILTER_OF_VMWARE)).isPresent();
    if (locators.isEmpty() && keyId.isEmpty() && !filtered) {
      return;
    }
    throw descriptor.badHeader(
        "encryptionKeys",
        "encrypted by VMware" + keys(descriptor, locators, keyId),
        "a disk that VMware has decrypted first; its data format is not published");
  }

  private static String keys(
      Descriptor descriptor, Optional<String> locators, Optional<String> keyId) {
    if (locators.isPresent()) {
      try {
        List<String> keys =
            KeyLocators.keys(
                descriptor.file(), descriptor.headerByteOffset("encryptionKeys"), locators.get());
        if (!keys.isEmpty()) {
          return " with key " + String.join(", ", keys);
        }
      } catch (FormatException unreadable) {
        return "; its key ids can't be read: " + unreadable.actual();
      }
    }
    return keyId.map(id -> " with key " + id).orElse("");
  }
}
