package io.filterd.daemon;

import io.filterd.block.BlockException;
import io.filterd.daemon.control.KeyOperations;
import io.filterd.daemon.control.KeyOperations.KeyUse;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import io.filterd.daemon.control.Results;
import io.filterd.inventory.DiskRecord;
import io.filterd.inventory.Inventory;
import io.filterd.inventory.KeyRecord;
import io.filterd.keys.KeyException;
import io.filterd.keys.KeyReference;
import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Lets nobody end a key by mistake that a disk, a snapshot or a recrypt still names. */
final class KeyGuard {
  private static final Logger LOG = LoggerFactory.getLogger(KeyGuard.class);

  private final Inventory inventory;
  private final KeyAccess keys;
  private final DiskKeys diskKeys;
  private final Recrypt recrypt;

  KeyGuard(Inventory inventory, KeyAccess keys, DiskKeys diskKeys, Recrypt recrypt) {
    this.inventory = inventory;
    this.keys = keys;
    this.diskKeys = diskKeys;
    this.recrypt = recrypt;
  }

  /** What names a key, and by which check values. */
  private record Found(List<KeyUse> uses, Set<KeyReference> keys) {}

  /** Says what names a key, or may. */
  KeyOperations.KeyUses uses(String key) throws OperationException, IOException {
    return new KeyOperations.KeyUses(key, find(key).uses());
  }

  private Found find(String key) throws OperationException, IOException {
    String provider = RecryptPlan.parse(key)[0];
    String keyId = RecryptPlan.parse(key)[1];
    List<KeyUse> uses = new ArrayList<>();
    Set<KeyReference> found = new LinkedHashSet<>();
    for (DiskRecord disk : inventory.disks()) {
      addDisk(disk, key, uses, found);
    }
    inventory.vms().stream()
        .filter(vm -> vm.provider().equals(provider) && vm.keyId().equals(keyId))
        .forEach(
            vm -> {
              uses.add(new KeyUse(vm.name(), "its next disk would have the key", true));
              found.add(new KeyReference(provider, keyId, vm.checkValue()));
            });
    for (KeyRecord each : inventory.keys()) {
      if (each.provider().equals(provider) && each.keyId().equals(keyId)) {
        found.add(new KeyReference(provider, keyId, each.checkValue()));
        if (each.state() == KeyRecord.State.NEXT) {
          uses.add(new KeyUse(each.owner(), "a recrypt is giving it the key", true));
        }
      }
    }
    Optional<RecryptJournal> left = recrypt.unfinished();
    if (left.isPresent()
        && left.get().items().stream()
            .anyMatch(item -> !item.done() && item.from().contains(key))) {
      uses.add(new KeyUse("recrypt", "not finished: " + left.get().what(), true));
    }
    return new Found(uses, found);
  }

  private void addDisk(DiskRecord disk, String key, List<KeyUse> uses, Set<KeyReference> found) {
    String name = disk.name().toString();
    try {
      for (DiskKeys.Link link : diskKeys.of(disk).links()) {
        List<KeyReference> same =
            link.keys().filter(each -> DiskKeys.text(each).equals(key)).toList();
        if (!same.isEmpty()) {
          uses.add(new KeyUse(name, "its link " + link.file(), true));
          found.addAll(same);
        }
      }
    } catch (IOException unreadable) {
      uses.add(new KeyUse(name, "can't be read now: " + Failures.sentence(unreadable), false));
    } catch (BlockException unreadable) {
      uses.add(new KeyUse(name, "can't be read now: " + unreadable.getMessage(), false));
    }
  }

  /** Ends the use of a key for new data keys. */
  Results.Done revoke(KeyOperations.EndKey request)
      throws OperationException, KeyException, IOException {
    KeyReference key = checked(request, "revoked");
    keys.revoke(key);
    LOG.warn("key {} revoked, forced={}", DiskKeys.text(key), request.force());
    return new Results.Done("Revoked key " + request.key() + ": it wraps no new data keys.");
  }

  /** Destroys a key, and all that only it opens. */
  Results.Done destroy(KeyOperations.EndKey request)
      throws OperationException, KeyException, IOException {
    KeyReference key = checked(request, "destroyed");
    keys.destroy(key);
    LOG.warn("key {} destroyed, forced={}", DiskKeys.text(key), request.force());
    return new Results.Done("Destroyed key " + request.key() + ". Nothing brings it back.");
  }

  private KeyReference checked(KeyOperations.EndKey request, String done)
      throws OperationException, IOException {
    Found found = find(request.key());
    List<KeyUse> uses = found.uses();
    if (!uses.isEmpty() && !request.force()) {
      throw new OperationException(
          Code.CONFLICT,
          "key %s can't be %s: %d things name it or may; recrypt them first, or use --force"
              .formatted(request.key(), done, uses.size()),
          uses.stream().map(KeyGuard::text).toList());
    }
    Integer shown = request.uses();
    if (shown != null && shown != uses.size()) {
      throw new OperationException(
          Code.CONFLICT,
          "key %s: %d things name it or may (expected: the %d that were confirmed)"
              .formatted(request.key(), uses.size(), shown),
          uses.stream().map(KeyGuard::text).toList());
    }
    if (found.keys().isEmpty()) {
      throw new OperationException(
          Code.NOT_FOUND,
          "no key " + request.key() + ": neither a disk nor the inventory has ever named it");
    }
    if (found.keys().size() > 1) {
      throw new OperationException(
          Code.CONFLICT,
          "key %s: %d keys of this name are known, by their check values; end it at its provider"
              .formatted(request.key(), found.keys().size()));
    }
    return found.keys().iterator().next();
  }

  static String text(KeyUse use) {
    return (use.certain() ? "" : "perhaps ") + use.name() + ": " + use.how();
  }
}
