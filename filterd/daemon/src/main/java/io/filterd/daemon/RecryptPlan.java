package io.filterd.daemon;

import io.filterd.block.BlockException;
import io.filterd.daemon.RecryptJournal.Item;
import io.filterd.daemon.control.KeyOperations;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import io.filterd.inventory.DiskName;
import io.filterd.inventory.DiskRecord;
import io.filterd.inventory.Inventory;
import io.filterd.keys.KeyException;
import io.filterd.keys.KeyLabel;
import io.filterd.keys.KeyReference;
import io.filterd.policy.StoragePolicy.EncryptionRule;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/** Finds the disks that a recrypt is about, and who shares the new keys. Changes nothing. */
final class RecryptPlan {
  private final Inventory inventory;
  private final KnownDisks known;
  private final PolicyFolder policies;
  private final KeyAccess keys;
  private final DiskKeys diskKeys;

  RecryptPlan(Inventory inventory, PolicyFolder policies, KeyAccess keys, DiskKeys diskKeys) {
    this.inventory = inventory;
    this.known = new KnownDisks(inventory);
    this.policies = policies;
    this.keys = keys;
    this.diskKeys = diskKeys;
  }

  /** What was asked for, for people. */
  static String what(KeyOperations.Recrypt request) {
    String disks;
    if (request.target() != null) {
      disks = (request.target().contains("/") ? "disk " : "VM ") + request.target();
    } else if (request.key() != null) {
      disks = "all disks of key " + request.key();
    } else {
      disks = "all disks of provider " + request.provider();
    }
    return request.to() == null ? disks : disks + " to provider " + request.to();
  }

  /** The disks that are to have new keys; those that can't be read may be among them. */
  List<Item> items(KeyOperations.Recrypt request) throws OperationException, KeyException {
    if (request.to() != null) {
      keys.provider(request.to());
    }
    String target = request.target();
    if (target != null) {
      return ofTarget(target, request.to());
    }
    String key = request.key();
    Predicate<KeyReference> selected;
    if (key != null) {
      parse(key);
      selected = each -> DiskKeys.text(each).equals(key);
    } else {
      selected = each -> each.provider().equals(request.provider());
    }
    List<Item> items = new ArrayList<>();
    for (DiskRecord disk : inventory.disks()) {
      Item item = item(disk, request.to(), selected);
      if (item != null) {
        items.add(item);
      }
    }
    return items;
  }

  /** Splits {@code PROVIDER/KEYID}. */
  static String[] parse(String key) throws OperationException {
    int slash = key.indexOf('/');
    if (slash <= 0 || slash == key.length() - 1) {
      throw new OperationException(
          Code.INVALID, "key: " + key + " (expected: PROVIDER/KEYID, as `filterd disk info` says)");
    }
    return new String[] {key.substring(0, slash), key.substring(slash + 1)};
  }

  private List<Item> ofTarget(String target, @Nullable String to) throws OperationException {
    if (target.contains("/")) {
      DiskRecord disk = known.get(KnownDisks.name(target));
      Item item = item(disk, to, key -> true);
      if (item == null) {
        throw new OperationException(Code.INVALID, "disk " + target + " is not encrypted");
      }
      return List.of(item);
    }
    List<Item> items = new ArrayList<>();
    boolean any = false;
    for (DiskRecord disk : inventory.disks()) {
      if (disk.name().vm().equals(target)) {
        any = true;
        Item item = item(disk, to, key -> true);
        if (item != null) {
          items.add(item);
        }
      }
    }
    if (!any) {
      throw new OperationException(
          Code.NOT_FOUND, "no VM " + target + ": `filterd vm list` shows those there are");
    }
    return items;
  }

  /** The disk, if it has a key that is selected, or nobody knows. */
  private @Nullable Item item(
      DiskRecord disk, @Nullable String to, Predicate<KeyReference> selected) {
    String name = disk.name().toString();
    try {
      DiskKeys.Keys found = diskKeys.of(disk);
      List<KeyReference> all = found.all();
      if (all.stream().noneMatch(selected)) {
        return null;
      }
      return item(disk.name(), found, to == null ? all.getFirst().provider() : to);
    } catch (IOException unreadable) {
      return unread(name, Failures.sentence(unreadable), Failures.code(unreadable));
    } catch (BlockException unreadable) {
      return unread(name, String.valueOf(unreadable.getMessage()), Code.IO);
    }
  }

  /** A disk that is to have a new key of this provider. */
  Item item(DiskName name, DiskKeys.Keys found, String provider) {
    return new Item(
        name.toString(),
        owner(name, found.policy()),
        provider,
        found.all().stream().map(DiskKeys::text).toList(),
        null,
        found.links().size(),
        false,
        null,
        null);
  }

  private static Item unread(String name, String reason, Code code) {
    return new Item(name, name, "", List.of(), null, 0, false, reason, code);
  }

  /** Who shares the disk's key: its VM, unless its policy says otherwise. */
  private String owner(DiskName name, Optional<String> policy) {
    KeyLabel vm = new KeyLabel(KeyLabel.Scope.VM, name.vm());
    try {
      Optional<EncryptionRule> rule = policies.get(policy.orElse("")).encryption();
      return KeyLedger.owner(
          rule.isEmpty()
              ? vm
              : switch (rule.get().kekScope()) {
                case PER_VM -> vm;
                case PER_DISK -> new KeyLabel(KeyLabel.Scope.DISK, name.toString());
                case PER_TENANT ->
                    new KeyLabel(KeyLabel.Scope.TENANT, rule.get().tenant().orElseThrow());
              });
    } catch (OperationException unknown) {
      return KeyLedger.owner(vm);
    }
  }
}
