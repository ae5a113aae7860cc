package io.filterd.inventory;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.DateTimeException;
import java.time.Instant;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/**
 * The list of VMs and disks in one JSON file, replaced atomically at every change, so that a crash
 * leaves the list before or after it. Holds the folder's lock while it is open: two processes never
 * change one inventory. Safe for many threads.
 */
public final class Inventory implements AutoCloseable {
  /** More than this is not an inventory of ours: some 100,000 disks. */
  private static final int MAX_FILE_BYTES = 32 << 20;

  /** The names of disks and files are nobody else's business. */
  private static final FileAttribute<Set<PosixFilePermission>> OWNER_ONLY =
      PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------"));

  private static final int VERSION = 1;
  private static final ObjectMapper JSON =
      new ObjectMapper()
          .enable(SerializationFeature.INDENT_OUTPUT)
          .enable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
          .enable(DeserializationFeature.FAIL_ON_NULL_FOR_PRIMITIVES);

  /** The last three are there if there are any. */
  @JsonInclude(JsonInclude.Include.NON_NULL)
  private record Contents(
      int version,
      List<VmEntry> vms,
      List<DiskEntry> disks,
      @Nullable List<VmEntry> tenants,
      @Nullable List<String> locked,
      @Nullable List<KeyEntry> keys) {}

  private record KeyEntry(
      String provider,
      String keyId,
      String checkValue,
      String owner,
      String since,
      KeyRecord.State state) {
    private static KeyEntry of(KeyRecord key) {
      return new KeyEntry(
          key.provider(),
          key.keyId(),
          key.checkValue(),
          key.owner(),
          key.since().toString(),
          key.state());
    }

    private KeyRecord record() {
      return new KeyRecord(provider, keyId, checkValue, owner, Instant.parse(since), state);
    }
  }

  private record VmEntry(String name, String provider, String keyId, String checkValue) {}

  /** The options are there if they are not the usual ones. */
  @JsonInclude(JsonInclude.Include.NON_NULL)
  private record DiskEntry(
      String name, String file, boolean attached, @Nullable ServeOptions options) {
    private static DiskEntry of(DiskRecord disk) {
      ServeOptions options = disk.options();
      return new DiskEntry(
          disk.name().toString(),
          disk.file(),
          disk.attached(),
          options.equals(ServeOptions.DEFAULT) ? null : options);
    }

    private DiskRecord record() {
      return new DiskRecord(
          DiskName.parse(name), file, attached, options == null ? ServeOptions.DEFAULT : options);
    }
  }

  private final Path file;
  private final FileChannel lockChannel;
  private final TreeMap<DiskName, DiskRecord> disks = new TreeMap<>();
  private final TreeMap<String, VmRecord> vms = new TreeMap<>();
  private final TreeMap<String, TenantRecord> tenants = new TreeMap<>();
  private final TreeSet<DiskName> locked = new TreeSet<>();
  private final TreeMap<String, KeyRecord> keys = new TreeMap<>();

  private Inventory(Path file, FileChannel lockChannel) {
    this.file = file;
    this.lockChannel = lockChannel;
  }

  /**
   * Opens the inventory in {@code folder}, empty if there is none yet, and locks it.
   *
   * @throws InventoryException if another process has it open, or the file is not an inventory
   */
  public static Inventory open(Path folder) throws InventoryException, IOException {
    Path lockFile = folder.resolve("lock");
    FileChannel channel =
        FileChannel.open(
            lockFile, Set.of(StandardOpenOption.CREATE, StandardOpenOption.WRITE), OWNER_ONLY);
    try {
      lock(channel, folder);
      Inventory inventory = new Inventory(folder.resolve("inventory.json"), channel);
      inventory.load();
      return inventory;
    } catch (InventoryException | IOException | RuntimeException failure) {
      channel.close();
      throw failure;
    }
  }

  private static void lock(FileChannel channel, Path folder)
      throws InventoryException, IOException {
    @SuppressWarnings("resource") // Released with the channel.
    FileLock lock;
    try {
      lock = channel.tryLock();
    } catch (OverlappingFileLockException inThisProcess) {
      lock = null;
    }
    if (lock == null) {
      throw new InventoryException(
          "the state folder " + folder + " is in use by another filterd: stop it, or talk to it");
    }
  }

  private void load() throws InventoryException, IOException {
    if (!Files.exists(file)) {
      return;
    }
    byte[] bytes;
    try (InputStream in = Files.newInputStream(file)) {
      bytes = in.readNBytes(MAX_FILE_BYTES + 1);
    }
    if (bytes.length > MAX_FILE_BYTES) {
      throw new InventoryException(
          file + ": more than " + MAX_FILE_BYTES + " bytes (expected: an inventory)");
    }
    try {
      Contents contents = JSON.readValue(bytes, Contents.class);
      if (contents.version() != VERSION) {
        throw new InventoryException(
            file + ": version " + contents.version() + " (expected: " + VERSION + ")");
      }
      for (VmEntry vm : contents.vms()) {
        vms.put(vm.name(), new VmRecord(vm.name(), vm.provider(), vm.keyId(), vm.checkValue()));
      }
      for (DiskEntry disk : contents.disks()) {
        DiskRecord record = disk.record();
        disks.put(record.name(), record);
      }
      for (VmEntry each : contents.tenants() == null ? List.<VmEntry>of() : contents.tenants()) {
        tenants.put(
            each.name(),
            new TenantRecord(each.name(), each.provider(), each.keyId(), each.checkValue()));
      }
      for (String each : contents.locked() == null ? List.<String>of() : contents.locked()) {
        locked.add(DiskName.parse(each));
      }
      List<KeyEntry> keyEntries = contents.keys();
      for (KeyEntry key : keyEntries == null ? List.<KeyEntry>of() : keyEntries) {
        KeyRecord record = key.record();
        keys.put(record.name(), record);
      }
    } catch (JsonProcessingException
        | IllegalArgumentException
        | DateTimeException
        | NullPointerException damage) {
      throw new InventoryException(
          file
              + ": not a readable inventory ("
              + firstLine(damage)
              + "). The disks are not affected: move the file away and attach them by their files.",
          damage);
    }
  }

  private static String firstLine(Exception failure) {
    String message = String.valueOf(failure.getMessage());
    int end = message.indexOf('\n');
    return end < 0 ? message : message.substring(0, end);
  }

  /** All disks, by name. */
  public synchronized List<DiskRecord> disks() {
    return List.copyOf(disks.values());
  }

  /** The disk of this name. */
  public synchronized Optional<DiskRecord> disk(DiskName name) {
    return Optional.ofNullable(disks.get(name));
  }

  /** All VMs that have a key, by name. */
  public synchronized List<VmRecord> vms() {
    return List.copyOf(vms.values());
  }

  /** All tenants that have a key, by name. */
  public synchronized List<TenantRecord> tenants() {
    return List.copyOf(tenants.values());
  }

  /** The tenant of this name. */
  public synchronized Optional<TenantRecord> tenant(String name) {
    return Optional.ofNullable(tenants.get(name));
  }

  /** Adds or replaces a tenant; durable when this returns. */
  public synchronized void put(TenantRecord tenant) throws IOException {
    put(tenants, tenant.name(), tenant);
  }

  /** Whether a disk was locked by command: nobody opens it until it is unlocked. */
  public synchronized boolean isLocked(DiskName disk) {
    return locked.contains(disk);
  }

  /** The disks that were locked by command. */
  public synchronized Set<DiskName> locked() {
    return Set.copyOf(locked);
  }

  /** Locks disks, all of them or none; durable when this returns. */
  public synchronized void lock(Collection<DiskName> names) throws IOException {
    TreeSet<DiskName> after = new TreeSet<>(locked);
    after.addAll(names);
    storeLocked(after);
  }

  /** Unlocks disks, all of them or none; durable when this returns. */
  public synchronized void unlock(Collection<DiskName> names) throws IOException {
    TreeSet<DiskName> after = new TreeSet<>(locked);
    after.removeAll(Set.copyOf(names));
    storeLocked(after);
  }

  private void storeLocked(Set<DiskName> after) throws IOException {
    if (after.equals(locked)) {
      return;
    }
    TreeSet<DiskName> before = new TreeSet<>(locked);
    locked.clear();
    locked.addAll(after);
    boolean stored = false;
    try {
      store();
      stored = true;
    } finally {
      if (!stored) {
        locked.clear();
        locked.addAll(before);
      }
    }
  }

  /** The VM of this name. */
  public synchronized Optional<VmRecord> vm(String name) {
    return Optional.ofNullable(vms.get(name));
  }

  /** Adds or replaces a disk; durable when this returns. */
  public synchronized void put(DiskRecord disk) throws IOException {
    put(disks, disk.name(), disk);
  }

  /** Adds or replaces disks, all of them or none; durable when this returns. */
  public synchronized void putAll(List<DiskRecord> changed) throws IOException {
    TreeMap<DiskName, DiskRecord> before = new TreeMap<>(disks);
    boolean stored = false;
    try {
      changed.forEach(disk -> disks.put(disk.name(), disk));
      store();
      stored = true;
    } finally {
      if (!stored) {
        disks.clear();
        disks.putAll(before);
      }
    }
  }

  /** Nothing is remembered that could not be stored: a restart would forget it. */
  private <K, V> void put(Map<K, V> records, K name, V changed) throws IOException {
    Optional<V> before = Optional.ofNullable(records.put(name, changed));
    boolean stored = false;
    try {
      store();
      stored = true;
    } finally {
      if (!stored) {
        before.ifPresentOrElse(record -> records.put(name, record), () -> records.remove(name));
      }
    }
  }

  /** Adds or replaces a VM; durable when this returns. */
  public synchronized void put(VmRecord vm) throws IOException {
    put(vms, vm.name(), vm);
  }

  /** All key-encryption keys that were ever noted. */
  public synchronized List<KeyRecord> keys() {
    return List.copyOf(keys.values());
  }

  /** Adds or replaces a key-encryption key; durable when this returns. */
  public synchronized void put(KeyRecord key) throws IOException {
    put(keys, key.name(), key);
  }

  private void store() throws IOException {
    List<VmEntry> vmEntries =
        vms.values().stream()
            .map(vm -> new VmEntry(vm.name(), vm.provider(), vm.keyId(), vm.checkValue()))
            .toList();
    List<DiskEntry> diskEntries = disks.values().stream().map(DiskEntry::of).toList();
    List<KeyEntry> keyEntries =
        keys.isEmpty() ? null : keys.values().stream().map(KeyEntry::of).toList();
    List<VmEntry> tenantEntries =
        tenants.values().stream()
            .map(each -> new VmEntry(each.name(), each.provider(), each.keyId(), each.checkValue()))
            .toList();
    List<String> lockedNames = locked.stream().map(DiskName::toString).toList();
    byte[] bytes =
        JSON.writeValueAsBytes(
            new Contents(
                VERSION,
                vmEntries,
                diskEntries,
                tenantEntries.isEmpty() ? null : tenantEntries,
                lockedNames.isEmpty() ? null : lockedNames,
                keyEntries));
    Path next = file.resolveSibling(file.getFileName() + ".new");
    removeLeftover(next);
    try (FileChannel channel =
        FileChannel.open(
            next,
            Set.of(
                StandardOpenOption.CREATE,
                StandardOpenOption.WRITE,
                StandardOpenOption.TRUNCATE_EXISTING),
            OWNER_ONLY)) {
      ByteBuffer rest = ByteBuffer.wrap(bytes);
      while (rest.hasRemaining()) {
        channel.write(rest);
      }
      channel.force(true);
    }
    Files.move(next, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    // The rename itself is durable once the folder is.
    try (FileChannel folder =
        FileChannel.open(file.toAbsolutePath().getParent(), StandardOpenOption.READ)) {
      folder.force(true);
    }
  }

  /** What a crash left half-written may have other permissions. */
  private static void removeLeftover(Path next) throws IOException {
    if (Files.isRegularFile(next, LinkOption.NOFOLLOW_LINKS)) {
      Files.delete(next);
    }
  }

  /** Releases the folder's lock. */
  @Override
  public void close() throws IOException {
    lockChannel.close();
  }
}
