package io.filterd.daemon;

import io.filterd.block.BlockException;
import io.filterd.inventory.DiskName;
import io.filterd.inventory.DiskRecord;
import io.filterd.inventory.Inventory;
import io.filterd.inventory.TenantRecord;
import io.filterd.inventory.VmRecord;
import io.filterd.keys.KeyException;
import io.filterd.keys.KeyReference;
import io.filterd.vmdk.Access;
import io.filterd.vmdk.DiskChain;
import io.filterd.vmdk.EncryptionMetadata;
import io.filterd.vmdk.Locker;
import io.filterd.vmdk.VmdkDisk;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/** Finds out which keys are named, by disks, their snapshots, VMs and tenants. Opens none. */
final class KeyUses {
  private final Inventory inventory;
  private final Attachments attachments;

  KeyUses(Inventory inventory, Attachments attachments) {
    this.inventory = inventory;
    this.attachments = attachments;
  }

  /**
   * A link of a disk, and the keys that open it: any one of them is enough.
   *
   * @param file the link's file
   */
  record Link(String file, String linkId, List<KeyReference> keys) {}

  /**
   * A disk's links that are encrypted.
   *
   * @param problem why they can't be read, or null
   */
  record Disk(DiskRecord record, List<Link> links, @Nullable String problem) {}

  /** Who names a key. */
  static final class Use {
    final TreeSet<String> disks = new TreeSet<>();
    final TreeMap<String, String> linkFiles = new TreeMap<>();
    final TreeSet<String> vms = new TreeSet<>();
    final TreeSet<String> tenants = new TreeSet<>();
  }

  /** All disks. */
  List<Disk> disks() {
    List<Disk> disks = new ArrayList<>();
    for (DiskRecord record : inventory.disks()) {
      disks.add(disk(record));
    }
    return disks;
  }

  private Disk disk(DiskRecord record) {
    DiskName name = record.name();
    try {
      Optional<DiskStack> stack = attachments.stack(name);
      if (stack.isPresent()) {
        return new Disk(record, links(stack.get().links().links()), null);
      }
      try (DiskChain chain = DiskChain.open(Path.of(record.file()), Access.READ_ONLY)) {
        return new Disk(record, links(chain.links()), null);
      }
    } catch (IOException failure) {
      return new Disk(record, List.of(), Failures.sentence(failure));
    } catch (BlockException | KeyException failure) {
      return new Disk(record, List.of(), String.valueOf(failure.getMessage()));
    }
  }

  private static List<Link> links(List<DiskChain.Link> chain) throws KeyException {
    List<Link> links = new ArrayList<>();
    for (DiskChain.Link link : chain) {
      VmdkDisk disk = link.disk();
      if (disk.encryption().isPresent()) {
        EncryptionMetadata metadata = disk.encryption().get();
        List<KeyReference> keys = new ArrayList<>();
        for (Locker locker : metadata.keySafe()) {
          keys.add(KeyAccess.reference(locker));
        }
        links.add(new Link(link.file().toString(), metadata.linkId(), keys));
      }
    }
    return links;
  }

  /** All keys that something names, in the order of their providers and ids. */
  Map<KeyReference, Use> keys(List<Disk> disks) {
    Map<String, KeyReference> order = new TreeMap<>();
    Map<KeyReference, Use> uses = new LinkedHashMap<>();
    for (Disk disk : disks) {
      for (Link link : disk.links()) {
        for (KeyReference key : link.keys()) {
          Use use = use(uses, order, key);
          use.disks.add(disk.record().name().toString());
          use.linkFiles.put(link.linkId(), link.file());
        }
      }
    }
    for (VmRecord vm : inventory.vms()) {
      KeyReference key = new KeyReference(vm.provider(), vm.keyId(), vm.checkValue());
      use(uses, order, key).vms.add(vm.name());
    }
    for (TenantRecord tenant : inventory.tenants()) {
      KeyReference key = new KeyReference(tenant.provider(), tenant.keyId(), tenant.checkValue());
      use(uses, order, key).tenants.add(tenant.name());
    }
    Map<KeyReference, Use> ordered = new LinkedHashMap<>();
    order.values().forEach(key -> ordered.put(key, uses.getOrDefault(key, new Use())));
    return ordered;
  }

  private static Use use(
      Map<KeyReference, Use> uses, Map<String, KeyReference> order, KeyReference key) {
    order.put(key.provider() + "\n" + key.keyId() + "\n" + key.checkValue(), key);
    return uses.computeIfAbsent(key, each -> new Use());
  }
}
