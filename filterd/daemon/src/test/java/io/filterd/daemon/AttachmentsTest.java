package io.filterd.daemon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Durability;
import io.filterd.inventory.DiskName;
import io.filterd.nbd.Client;
import io.filterd.nbd.Exports;
import io.filterd.policy.StoragePolicy;
import io.filterd.vmdk.Access;
import io.filterd.vmdk.CreateOptions;
import io.filterd.vmdk.VmdkDisk;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class AttachmentsTest {
  private static final DiskName NAME = DiskName.parse("vm/disk");
  private static final Client CLIENT =
      new Client(new Client.Origin.Unix(1, 0, 0), false, new Client.Identity.Unproven());

  @TempDir Path folder;

  @Test
  void aDiskThatCouldNotBeClosedTakesClientsAgain()
      throws BlockException, IOException, InterruptedException {
    Path file = folder.resolve("disk.vmdk");
    VmdkDisk.create(file, CreateOptions.ofSize(1 << 20));
    StoragePolicy policy =
        new StoragePolicy("policy", "", List.of(), Optional.empty(), false, Optional.empty());
    try (DiskStack stack = PlainDisk.open(NAME.toString(), FilterRegistry.load(), file, policy)) {
      Attachments attachments = new Attachments();
      assertThat(attachments.begin(NAME)).isTrue();
      attachments.attached(NAME, stack);

      assertThat(attachments.endUses(NAME, Duration.ZERO)).isTrue();
      attachments.end(NAME);
      assertThatThrownBy(() -> attachments.open("vm/disk", CLIENT))
          .hasMessageContaining("detached");
      assertThat(attachments.use(NAME)).isEmpty();
      attachments.resume(NAME);

      assertThat(attachments.open("vm/disk", CLIENT)).isPresent();
      assertThat(attachments.use(NAME)).isPresent();
    }
  }

  @Test
  void whatAClientLeftUnflushedIsInTheFile() throws BlockException, IOException {
    Path file = folder.resolve("disk.vmdk");
    VmdkDisk.create(file, CreateOptions.ofSize(1 << 20));
    StoragePolicy policy =
        new StoragePolicy("policy", "", List.of(), Optional.empty(), false, Optional.empty());
    try (DiskStack stack = PlainDisk.open(NAME.toString(), FilterRegistry.load(), file, policy)) {
      Attachments attachments = new Attachments();
      assertThat(attachments.begin(NAME)).isTrue();
      attachments.attached(NAME, stack);
      Exports.Lease lease = attachments.open("vm/disk", CLIENT).orElseThrow();
      ByteBuffer written = ByteBuffer.allocateDirect(4096).putLong(0, 42);
      lease.device().write(8192, written, Durability.BUFFERED, Blocking.ALLOWED);

      lease.close();

      Path left = Files.copy(file, folder.resolve("left.vmdk"));
      try (VmdkDisk disk = VmdkDisk.open(left, Access.READ_WRITE)) {
        ByteBuffer read = ByteBuffer.allocateDirect(4096);
        disk.link().read(8192, read, Blocking.ALLOWED);
        assertThat(read.getLong(0)).isEqualTo(42);
      }
    }
  }
}
