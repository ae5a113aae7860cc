package io.filterd.daemon;

import static io.filterd.daemon.RunningFilterd.tool;
import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.daemon.control.ControlClient;
import io.filterd.daemon.control.Operation;
import io.filterd.daemon.control.Progress;
import io.filterd.daemon.control.Requests;
import io.filterd.daemon.control.Results;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Policies that change while a disk is attached and busy. */
class PolicyIT {
  private static final String DISK = "vm1/disk0";
  private static final String PYTHON = "/usr/bin/python3";

  @TempDir Path folder;

  private void policy(String name, String qos) throws Exception {
    Path policies = Files.createDirectories(folder.resolve("policies"));
    Files.writeString(
        policies.resolve(name + ".yaml"),
        "version: 1\nname: %s\nfilters: {inspection: {}%s}\n".formatted(name, qos));
  }

  private RunningFilterd withDisk(String policy) throws Exception {
    RunningFilterd running = RunningFilterd.start(folder);
    running.filterd("disk", "create", DISK, "--size", "16MiB", "--policy", policy);
    running.filterd("disk", "attach", DISK);
    return running;
  }

  @Test
  void aPolicyThatWasChangedIsOutOfDateUntilItIsApplied() throws Exception {
    policy("gold", ", qos: {operations: 5000/s}");
    try (RunningFilterd running = withDisk("gold")) {
      assertThat(running.filterd("disk", "info", DISK)).contains("compliance    compliant");

      policy("gold", ", qos: {operations: 9000/s}");
      assertThat(running.filterd("disk", "info", DISK))
          .contains("compliance    out-of-date", "policy gold was changed after it was applied")
          .contains("operations=5000", "operations=9000");
      assertThat(running.filterd("policy", "apply", DISK, "gold"))
          .contains("compliance    compliant", "operations=9000")
          .doesNotContain("operations=5000");

      Files.delete(folder.resolve("policies/gold.yaml"));
      assertThat(running.filterd("disk", "info", DISK))
          .contains("compliance    unknown", "no policy gold");

      Files.writeString(
          folder.resolve("policies/gold.yaml"),
          "version: 1\nname: gold\nfilters: {inspection: {}}\nencryption: {}\n");
      assertThat(running.filterd("disk", "info", DISK))
          .contains("compliance    non-compliant", "the disk is not encrypted");
      RunningFilterd.Result refused =
          RunningFilterd.filterd(folder, "policy", "apply", DISK, "gold");
      assertThat(refused.output()).contains("can't be served under policy gold").hasLineCount(1);
      assertThat(refused.exitCode()).isEqualTo(4);
    }
  }

  @Test
  void aWiderLimitHoldsAtOnceWhateverWaitsBehindTheOld() throws Exception {
    policy("narrow", ", qos: {operations: 2/s, burst: 1ms}");
    policy("wide", "");
    try (RunningFilterd running = withDisk("narrow")) {
      Process queued =
          new ProcessBuilder(
                  PYTHON,
                  "-c",
                  """
                  import nbd, sys
                  h = nbd.NBD()
                  h.connect_uri(sys.argv[1])
                  buffers = [nbd.Buffer(4096) for _ in range(32)]
                  cookies = [h.aio_pread(b, i * 4096) for i, b in enumerate(buffers)]
                  while h.aio_in_flight() > 30:
                      h.poll(-1)
                      done = h.aio_peek_command_completed()
                      if done > 0:
                          h.aio_command_completed(done)
                          cookies.remove(done)
                  print('queued', flush=True)
                  while cookies:
                      h.poll(-1)
                      cookies = [c for c in cookies if not h.aio_command_completed(c)]
                  assert all(bytes(b.to_bytearray()) == bytes(4096) for b in buffers)
                  print('done', flush=True)
                  """,
                  running.uri(DISK))
              .redirectErrorStream(true)
              .start();
      BufferedReader output =
          new BufferedReader(
              new InputStreamReader(queued.getInputStream(), StandardCharsets.UTF_8));
      assertThat(output.readLine()).isEqualTo("queued");

      running.filterd("policy", "apply", DISK, "wide");
      tool(
          PYTHON,
          "-c",
          """
          import nbd, sys
          h = nbd.NBD()
          h.connect_uri(sys.argv[1])
          for i in range(100):
              h.pwrite(b'x' * 4096, (1 << 20) + i * 4096)
          h.flush()
          h.shutdown()
          """,
          running.uri(DISK));

      // 30 reads at two in a second take 15 seconds: a hundred writes overtook them.
      assertThat(queued.isAlive()).isTrue();
      assertThat(output.readLine()).isEqualTo("done");
      assertThat(queued.onExit().orTimeout(60, TimeUnit.SECONDS).join().exitValue()).isZero();
      assertThat(running.filterd("disk", "info", DISK)).doesNotContain("qos");
    }
  }

  @Test
  void aDiskIsNotDetachedWhileItIsExported() throws Exception {
    policy("narrow", ", qos: {operations: 2/s, burst: 1ms}");
    policy("wide", "");
    Path copy = folder.resolve("copy.raw");
    try (RunningFilterd running = withDisk("wide")) {
      tool("qemu-io", "-f", "raw", "-c", "write -P 0x61 0 16M", running.uri(DISK));
      running.filterd("policy", "apply", DISK, "narrow");
      CompletableFuture<RunningFilterd.Result> export =
          CompletableFuture.supplyAsync(
              () -> {
                try {
                  return RunningFilterd.filterd(
                      folder, "disk", "export", DISK, copy.toString(), "--format", "raw");
                } catch (IOException failure) {
                  throw new UncheckedIOException(failure);
                }
              });
      Awaitility.await().atMost(Duration.ofSeconds(60)).until(() -> Files.exists(copy));

      RunningFilterd.Result refused = RunningFilterd.filterd(folder, "disk", "detach", DISK);
      assertThat(refused.output()).contains("is being exported").hasLineCount(1);
      assertThat(refused.exitCode()).isEqualTo(4);

      // What the export still reads goes through the wide policy's filters.
      running.filterd("policy", "apply", DISK, "wide");
      assertThat(export.orTimeout(60, TimeUnit.SECONDS).join().exitCode()).isZero();
      tool("qemu-img", "compare", "-f", "raw", "-F", "raw", copy.toString(), running.uri(DISK));
      running.filterd("disk", "detach", DISK);
    }
  }

  @Test
  void filtersAreExchangedUnderVerifiedWrites() throws Exception {
    policy("gold", ", qos: {operations: 20000/s, burst: 1ms}");
    policy("silver", "");
    try (RunningFilterd running = withDisk("gold")) {
      Process fio =
          new ProcessBuilder(
                  "fio",
                  "--name=verify",
                  "--ioengine=nbd",
                  "--uri=" + running.uri(DISK),
                  "--rw=randrw",
                  "--bs=4k",
                  "--size=16m",
                  "--iodepth=32",
                  "--loops=4",
                  "--verify=crc32c",
                  "--do_verify=1",
                  "--verify_fatal=1",
                  "--verify_state_save=0")
              .directory(folder.toFile())
              .redirectErrorStream(true)
              .redirectOutput(folder.resolve("fio.log").toFile())
              .start();
      ControlClient daemon = new ControlClient(folder.resolve("control.sock"));
      int exchanged = 0;
      while (fio.isAlive()) {
        String next = exchanged++ % 2 == 0 ? "silver" : "gold";
        Results.DiskDetails details =
            daemon.call(
                Operation.POLICY_APPLY, new Requests.ApplyPolicy(DISK, next), Progress.NONE);
        assertThat(details.compliance())
            .as("%s", details.complianceReasons())
            .isEqualTo("compliant");
      }

      assertThat(fio.exitValue()).as("%s", Files.readString(folder.resolve("fio.log"))).isZero();
      assertThat(exchanged).isGreaterThan(10);
      running.filterd("disk", "detach", DISK);
    }
  }

  @Test
  void aDetachLetsThroughWhatWaitsBehindALimit() throws Exception {
    policy("narrow", ", qos: {operations: 1/s, burst: 1ms}");
    try (RunningFilterd running = withDisk("narrow")) {
      Process queued =
          new ProcessBuilder(
                  PYTHON,
                  "-c",
                  """
                  import nbd, sys
                  h = nbd.NBD()
                  h.connect_uri(sys.argv[1])
                  buffer = nbd.Buffer(4096)
                  cookies = [h.aio_pread(buffer, i * 4096) for i in range(100)]
                  while not h.aio_command_completed(cookies[0]):
                      h.poll(-1)
                  print('queued', flush=True)
                  for cookie in cookies[1:]:
                      while not h.aio_command_completed(cookie):
                          h.poll(-1)
                  print('done', flush=True)
                  """,
                  running.uri(DISK))
              .redirectErrorStream(true)
              .start();
      BufferedReader output =
          new BufferedReader(
              new InputStreamReader(queued.getInputStream(), StandardCharsets.UTF_8));
      assertThat(output.readLine()).isEqualTo("queued");

      long start = System.nanoTime();
      running.filterd("disk", "detach", DISK);

      // One in a second would take more than a minute and a half, and be given up before.
      assertThat(Duration.ofNanos(System.nanoTime() - start)).isLessThan(Duration.ofSeconds(20));
      assertThat(output.readLine()).isEqualTo("done");
    }
  }
}
