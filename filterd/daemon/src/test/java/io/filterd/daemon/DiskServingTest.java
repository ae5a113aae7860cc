package io.filterd.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.daemon.control.Operation;
import io.filterd.daemon.control.Progress;
import io.filterd.daemon.control.Requests;
import io.filterd.inventory.DiskName;
import io.filterd.nbd.NbdServer;
import io.filterd.nbd.NbdServerConfig;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DiskServingTest {
  private static final DiskName DISK = DiskName.parse("vm1/disk0");

  @TempDir Path folder;

  @Test
  void leavesADiskAloneThatWasAttachedBeforeItsTurnAtTheStart() throws Exception {
    DaemonConfig config =
        DaemonConfig.load(RunningFilterd.configure(folder, RunningFilterd.freePort()));
    try (Host host = Host.open(config);
        NbdServer server =
            NbdServer.start(
                NbdServerConfig.on(
                    List.of(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0))),
                host.attachments())) {
      host.serve(server);
      host.call(Operation.PROVIDER_INIT, new Requests.Provider(null), Progress.NONE);
      host.call(
          Operation.DISK_CREATE,
          new Requests.CreateDisk(DISK.toString(), 1 << 20, "encrypted", null, true),
          Progress.NONE);
      Requests.AttachDisk attach = new Requests.AttachDisk(DISK.toString(), null);
      host.call(Operation.DISK_ATTACH, attach, Progress.NONE);
      host.call(Operation.DISK_DETACH, new Requests.Disk(DISK.toString()), Progress.NONE);
      // As at a start: announced, then a command comes first.
      assertThat(host.attachments().begin(DISK)).isTrue();
      host.call(Operation.DISK_ATTACH, attach, Progress.NONE);
      assertThat(host.serving().reattach(DISK)).isTrue();

      assertThat(host.attachments().stack(DISK)).isPresent();
      assertThat(host.attachments().lockedBecause(DISK)).isEmpty();
    }
  }
}
