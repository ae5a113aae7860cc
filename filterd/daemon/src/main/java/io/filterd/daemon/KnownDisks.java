package io.filterd.daemon;

import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import io.filterd.inventory.DiskName;
import io.filterd.inventory.DiskRecord;
import io.filterd.inventory.Inventory;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** The disks of the inventory, by the names that people give. */
final class KnownDisks {
  private final Inventory inventory;

  KnownDisks(Inventory inventory) {
    this.inventory = inventory;
  }

  /** Reads a name. */
  static DiskName name(String text) throws OperationException {
    try {
      return DiskName.parse(text);
    } catch (IllegalArgumentException wrong) {
      throw new OperationException(Code.INVALID, String.valueOf(wrong.getMessage()), wrong);
    }
  }

  /** The disk of this name. */
  DiskRecord get(DiskName name) throws OperationException {
    return inventory
        .disk(name)
        .orElseThrow(
            () ->
                new OperationException(
                    Code.NOT_FOUND,
                    "no disk " + name + ": `filterd disk list` shows those there are"));
  }

  /** The disk of this name, or a new one with this file. */
  DiskRecord get(DiskName name, @Nullable String file) throws OperationException {
    if (file == null) {
      return get(name);
    }
    Optional<DiskRecord> known = inventory.disk(name);
    if (known.isPresent() && !known.get().file().equals(file)) {
      throw new OperationException(
          Code.CONFLICT, "disk " + name + " is known, and its file is " + known.get().file());
    }
    return new DiskRecord(name, file, false);
  }
}
