package io.filterd.ova;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.block.Blocking;
import io.filterd.vmdk.DiskCopy;
import io.filterd.vmdk.VmdkDisk;
import java.nio.ByteBuffer;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class OvaWriterTest {
  private static final DiskCopy.Listener NOBODY = (done, total) -> true;

  @TempDir Path folder;

  @Test
  void isReadBack() throws Exception {
    Path file = folder.resolve("web.ova");
    List<String> names = new ArrayList<>();
    for (int i = 0; i < 60; i++) {
      names.add("disk" + i);
    }
    try (OvaWriter ova = OvaWriter.create(file, "web", names)) {
      for (int i = 0; i < names.size(); i++) {
        assertThat(ova.add(Packages.device(i), NOBODY)).isTrue();
      }
      ova.finish();
    }

    OvfPackage pack = OvfPackage.open(file);
    assertThat(pack.name()).isEqualTo("web");
    assertThat(pack.hasManifest()).isTrue();
    assertThat(pack.verify(NOBODY)).isTrue();
    assertThat(pack.disks()).hasSize(60);
    for (int i = 0; i < 60; i++) {
      OvfDisk disk = pack.disks().get(i);
      assertThat(disk.capacityBytes()).isEqualTo(Packages.DISK_BYTES);
      assertThat(disk.fileName()).hasValue("web-disk" + i + ".vmdk");
      try (VmdkDisk opened = pack.open(disk)) {
        ByteBuffer sector = ByteBuffer.allocateDirect(512);
        opened.link().read(1024, sector, Blocking.ALLOWED);
        assertThat(sector.get(0)).isEqualTo((byte) i);
      }
    }
  }

  @Test
  void leavesNothingUnlessItIsFinished() throws Exception {
    try (OvaWriter ova = OvaWriter.create(folder.resolve("a.ova"), "a", List.of("x", "y"))) {
      assertThat(ova.add(Packages.device(1), NOBODY)).isTrue();
      assertThat(ova.add(Packages.device(2), (done, total) -> false)).isFalse();
      assertThatThrownBy(ova::finish).isInstanceOf(IllegalStateException.class);
    }
    assertThat(folder).isEmptyDirectory();
  }

  @Test
  void refusesNamesThatNeedEscaping() {
    for (String name : List.of("", "a/b", "..", "a\"b", "<a>", "a&b")) {
      assertThatThrownBy(() -> OvaWriter.create(folder.resolve("a.ova"), name, List.of("x")))
          .isInstanceOf(IllegalArgumentException.class);
      assertThatThrownBy(() -> OvaWriter.create(folder.resolve("a.ova"), "a", List.of(name)))
          .isInstanceOf(IllegalArgumentException.class);
    }
    assertThatThrownBy(() -> OvaWriter.create(folder.resolve("a.ova"), "a", List.of("x", "x")))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> OvaWriter.create(folder.resolve("a.ova"), "a", List.of()))
        .isInstanceOf(IllegalArgumentException.class);
    assertThat(folder).isEmptyDirectory();
  }

  @Test
  void leavesAFileAloneThatIsThere() throws Exception {
    Path there = Files.writeString(folder.resolve("there.ova"), "precious");
    assertThatThrownBy(() -> OvaWriter.create(there, "a", List.of("x")))
        .isInstanceOf(FileAlreadyExistsException.class);
    assertThat(there).hasContent("precious");
  }
}
