package io.filterd.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.daemon.control.OperationException;
import io.filterd.inventory.DiskName;
import io.filterd.inventory.DiskRecord;
import io.filterd.inventory.Inventory;
import io.filterd.kmip.server.PyKmipServer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Many disks, each with a key-encryption key of its own, after a restart of the host: their keys
 * are fetched as soon as the KMS is there, by a few connections. The system property {@code
 * kmip.disks} says how many; 500 take some minutes, most of them to be made.
 */
class KmipManyDisksIT {
  private static final Logger LOG = LoggerFactory.getLogger(KmipManyDisksIT.class);

  /** As many as the pool of a provider has for a server. */
  private static final int MOST_CONNECTIONS = 4;

  private static final Duration PATIENCE = Duration.ofMinutes(5);

  @TempDir Path folder;

  @Test
  void keysOfManyDisksAreFetchedWithoutAStampede(@TempDir Path server) throws Exception {
    int total = Integer.getInteger("kmip.disks", 100);
    KmsSite site = new KmsSite(folder);
    try (PyKmipServer kms = PyKmipServer.start(server.resolve("kms"))) {
      site.shows(kms, "filterd");
      site.uses(", labels: false", kms.authorities(), kms);
      long begin = System.nanoTime();
      create(site, total);
      LOG.info("{} disks made in {} ms", total, (System.nanoTime() - begin) / 1_000_000);

      List<Double> perKey = new ArrayList<>();
      for (int count : List.of(total / 10, total / 2, total)) {
        serveAtStart(count);
        kms.kill();
        perKey.add(millisPerKey(site, kms, count));
      }
      // Linear: no key takes longer for there being more of them. Generous, for busy machines.
      assertThat(perKey.getLast()).isLessThan(5 * perKey.get(1));
    }
  }

  private void create(KmsSite site, int total) throws IOException, OperationException {
    try (RunningFilterd running = RunningFilterd.start(folder)) {
      assertThat(running.pid()).isPositive();
      for (int i = 0; i < total; i++) {
        site.create(name(i).toString(), 1 << 20, "encrypted-512");
      }
    }
  }

  private static DiskName name(int number) {
    return new DiskName("vm" + number / 10, "disk" + number % 10);
  }

  /** As if so many disks had been attached when the host lost its power. */
  private void serveAtStart(int count) throws Exception {
    try (Inventory inventory = Inventory.open(folder)) {
      List<DiskRecord> records = new ArrayList<>();
      for (int i = 0; i < count; i++) {
        DiskName name = name(i);
        records.add(new DiskRecord(name, inventory.disk(name).orElseThrow().file(), true));
      }
      inventory.putAll(records);
    }
  }

  private double millisPerKey(KmsSite site, PyKmipServer kms, int count) throws Exception {
    Files.deleteIfExists(folder.resolve("daemon.log"));
    try (RunningFilterd running = RunningFilterd.start(folder)) {
      Awaitility.await().atMost(PATIENCE).until(() -> site.provider().waitingDisks() == count);

      KmsSite.Return back = KmsSite.returns(kms);
      long[] most = {0};
      long[] first = {0};
      Awaitility.await()
          .atMost(PATIENCE)
          .pollInterval(Duration.ofMillis(100))
          .until(
              () -> {
                most[0] = Math.max(most[0], KmsSite.connections(kms));
                long attached = site.attached();
                if (first[0] == 0 && attached > 0) {
                  first[0] = back.millisSince();
                }
                return attached == count;
              });
      long all = back.millisSince();
      back.up().join();
      double perKey = (double) (all - first[0]) / count;
      LOG.info(
          "{} disks: the first after {} ms, all after {} ms, {} ms a key; connections: {} at a time,"
              + " {} in all",
          count,
          first[0],
          all,
          "%.1f".formatted(perKey),
          most[0],
          connectionsInAll(kms));
      assertThat(most[0]).isLessThanOrEqualTo(MOST_CONNECTIONS);
      assertThat(running.log()).contains("disks=" + count + " to be attached");
      // The one that was tried to see whether the KMS is back is not counted.
      String last = "disks=" + (count - 1) + " attached or locked after";
      Awaitility.await().until(() -> running.log().contains(last));
      assertThat(running.log()).contains("provider=kms answers again: disks=" + (count - 1));
      assertThat(site.provider().health()).isEqualTo("green");
      return perKey;
    }
  }

  private static long connectionsInAll(PyKmipServer kms) throws IOException {
    try (var lines = Files.lines(kms.log())) {
      return lines.filter(line -> line.contains("Receiving incoming connection")).count();
    }
  }
}
