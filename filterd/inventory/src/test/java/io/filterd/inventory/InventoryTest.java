package io.filterd.inventory;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Instant;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class InventoryTest {
  private static final DiskRecord DISK =
      new DiskRecord(new DiskName("vm1", "disk0"), "/disks/vm1/disk0.vmdk", true);

  @TempDir Path folder;

  @Test
  void keepsDisksAndVmsAcrossReopening() throws Exception {
    VmRecord vm = new VmRecord("vm1", "native", "k-1", "0011223344556677");
    try (Inventory inventory = Inventory.open(folder)) {
      inventory.put(vm);
      inventory.put(DISK);
    }

    try (Inventory inventory = Inventory.open(folder)) {
      assertThat(inventory.disks()).containsExactly(DISK);
      assertThat(inventory.disk(DISK.name())).contains(DISK);
      assertThat(inventory.vm("vm1")).contains(vm);
    }
  }

  @Test
  void keepsTenantsAndWhatWasLockedByCommand() throws Exception {
    TenantRecord tenant = new TenantRecord("acme", "native", "k-2", "0011223344556677");
    DiskName other = new DiskName("vm2", "disk0");
    try (Inventory inventory = Inventory.open(folder)) {
      inventory.put(tenant);
      inventory.lock(List.of(DISK.name(), other));
      inventory.unlock(List.of(other));
    }

    try (Inventory inventory = Inventory.open(folder)) {
      assertThat(inventory.tenant("acme")).contains(tenant);
      assertThat(inventory.tenants()).containsExactly(tenant);
      assertThat(inventory.isLocked(DISK.name())).isTrue();
      assertThat(inventory.locked()).containsExactly(DISK.name());

      Path blocked = Files.createDirectory(folder.resolve("inventory.json.new"));
      assertThatThrownBy(() -> inventory.unlock(List.of(DISK.name())))
          .isInstanceOf(IOException.class);
      assertThat(inventory.isLocked(DISK.name())).isTrue();
      Files.delete(blocked);
    }
  }

  @Test
  void keepsWhatItKnowsOfKeys() throws Exception {
    KeyRecord key =
        new KeyRecord(
            "native",
            "k-1",
            "0011223344556677",
            "vm1",
            Instant.parse("2026-01-02T03:04:05Z"),
            KeyRecord.State.NEXT);
    KeyRecord sameId =
        new KeyRecord("kms", "k-1", "0011223344556677", "vm1", Instant.EPOCH, KeyRecord.State.SEEN);
    try (Inventory inventory = Inventory.open(folder)) {
      inventory.put(key);
      inventory.put(sameId);
    }

    try (Inventory inventory = Inventory.open(folder)) {
      assertThat(inventory.keys()).containsExactlyInAnyOrder(key, sameId);
      inventory.put(key.in(KeyRecord.State.MADE));
      assertThat(inventory.keys()).containsExactlyInAnyOrder(key.in(KeyRecord.State.MADE), sameId);
    }
    String text = Files.readString(folder.resolve("inventory.json"));
    Files.writeString(folder.resolve("inventory.json"), text.replace("2026-01-02T", "someday "));
    assertThatThrownBy(() -> Inventory.open(folder))
        .isInstanceOf(InventoryException.class)
        .hasMessageContaining("not a readable inventory");
  }

  @Test
  void keepsHowADiskIsServed() throws Exception {
    ServeOptions options = new ServeOptions(ServeOptions.Mode.COPY_ON_WRITE, 3, 1 << 30);
    DiskRecord disk = new DiskRecord(DISK.name(), DISK.file(), true, options);
    try (Inventory inventory = Inventory.open(folder)) {
      inventory.put(disk);
    }

    try (Inventory inventory = Inventory.open(folder)) {
      assertThat(inventory.disks()).containsExactly(disk);
    }
  }

  @Test
  void nobodyElseReadsItsFiles() throws Exception {
    Path leftover = Files.createFile(folder.resolve("inventory.json.new"));
    Files.setPosixFilePermissions(leftover, PosixFilePermissions.fromString("rw-rw-rw-"));
    try (Inventory inventory = Inventory.open(folder)) {
      inventory.put(DISK);

      for (String file : List.of("lock", "inventory.json")) {
        assertThat(Files.getPosixFilePermissions(folder.resolve(file)))
            .as(file)
            .isEqualTo(PosixFilePermissions.fromString("rw-------"));
      }
    }
  }

  @Test
  void forgetsWhatItCouldNotStore() throws Exception {
    VmRecord vm = new VmRecord("vm1", "native", "k-1", "0011223344556677");
    DiskRecord detached = new DiskRecord(DISK.name(), DISK.file(), false);
    try (Inventory inventory = Inventory.open(folder)) {
      inventory.put(DISK);
      // Where the next contents are written.
      Path blocked = Files.createDirectory(folder.resolve("inventory.json.new"));

      assertThatThrownBy(() -> inventory.put(vm)).isInstanceOf(IOException.class);
      assertThatThrownBy(() -> inventory.put(detached)).isInstanceOf(IOException.class);

      assertThat(inventory.vm("vm1")).isEmpty();
      assertThat(inventory.disks()).containsExactly(DISK);
      Files.delete(blocked);
      inventory.put(vm);
      assertThat(inventory.vm("vm1")).contains(vm);
    }
  }

  @Test
  void keepsAllOrNoneOfSeveralDisks() throws Exception {
    DiskRecord second =
        new DiskRecord(new DiskName("vm1", "disk1"), "/disks/vm1/disk1.vmdk", false);
    try (Inventory inventory = Inventory.open(folder)) {
      Path inTheWay = Files.createDirectory(folder.resolve("inventory.json.new"));
      assertThatThrownBy(() -> inventory.putAll(List.of(DISK, second)))
          .isInstanceOf(IOException.class);
      assertThat(inventory.disks()).isEmpty();

      Files.delete(inTheWay);
      inventory.putAll(List.of(DISK, second));
    }

    try (Inventory inventory = Inventory.open(folder)) {
      assertThat(inventory.disks()).containsExactly(DISK, second);
    }
  }

  @Test
  void refusesASecondOpener() throws Exception {
    try (Inventory inventory = Inventory.open(folder)) {
      assertThat(inventory.disks()).isEmpty();
      assertThatThrownBy(() -> Inventory.open(folder))
          .isInstanceOf(InventoryException.class)
          .hasMessageContaining("in use");
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "[]",
        "null",
        "{\"version\":1}",
        "{\"version\":2,\"vms\":[],\"disks\":[]}",
        "{\"version\":1,\"vms\":[],\"disks\":[{\"name\":\"../x\",\"file\":\"f\",\"attached\":true}]}",
        "{\"version\":1,\"vms\":[],\"disks\":[],\"more\":1}"
      })
  void refusesAFileThatIsNoInventoryAndLeavesIt(String text) throws Exception {
    Path file = folder.resolve("inventory.json");
    Files.writeString(file, text);

    assertThatThrownBy(() -> Inventory.open(folder))
        .isInstanceOf(InventoryException.class)
        .hasMessageContaining("inventory.json");

    assertThat(file).hasContent(text);
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "vm1", "/disk", "vm1/", "vm1/..", "../disk", "vm1/a/b", "vm 1/disk"})
  void refusesNamesThatAreNoDiskNames(String text) {
    assertThatThrownBy(() -> DiskName.parse(text))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("expected: VM/DISK");
  }
}
