package io.filterd.nbd;

import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.block.MemoryDevice;
import io.filterd.nbd.Difference.Peer;
import io.filterd.nbd.Difference.Seen;
import java.io.IOException;
import java.net.SocketAddress;
import java.net.UnixDomainSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestReporter;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * The same scripts to this server, to nbdkit and to qemu-nbd. Data must be right by each one's own
 * words; where answers differ, docs/differences.md says why.
 */
@Timeout(600)
class DifferencesIT {
  private static final int SCRIPTS = 10_000;
  private static final int SIZE_BYTES = 128 << 10;
  private static final long SEED = Long.getLong("test.seed", 20_261_124);

  @TempDir Path folder;

  /** A server's answers to each script, empty where it died. */
  private static List<List<Integer>> playAll(
      SocketAddress writable, SocketAddress readOnly, PeerServer... processes)
      throws IOException, InterruptedException {
    ScriptedClient writer = new ScriptedClient(SIZE_BYTES);
    ScriptedClient reader = new ScriptedClient(SIZE_BYTES);
    List<List<Integer>> all = new ArrayList<>();
    for (int i = 0; i < SCRIPTS; i++) {
      Script script = Script.of(SEED + i, SIZE_BYTES);
      List<Integer> answers;
      try {
        answers = script.readOnly() ? reader.play(script, readOnly) : writer.play(script, writable);
      } catch (AssertionError wrong) {
        throw new AssertionError(script + ": " + wrong.getMessage(), wrong);
      }
      if (answers.getLast() == ScriptedClient.ENDED) {
        for (PeerServer process : processes) {
          if (process.revive()) {
            answers = List.of();
          }
        }
      }
      all.add(answers);
    }
    return all;
  }

  @Test
  void areAllExplained(TestReporter reporter)
      throws IOException, InterruptedException, ExecutionException {
    UnixDomainSocketAddress writable = UnixDomainSocketAddress.of(folder.resolve("w.sock"));
    UnixDomainSocketAddress readOnly = UnixDomainSocketAddress.of(folder.resolve("r.sock"));
    Map<Difference, Integer> known = new EnumMap<>(Difference.class);
    List<Seen> unknown = new ArrayList<>();
    try (NbdServer _ =
            NbdServer.start(
                NbdServerConfig.on(List.of(writable)),
                new CountedExports().with("disk", new MemoryDevice(SIZE_BYTES)));
        NbdServer _ =
            NbdServer.start(
                NbdServerConfig.on(List.of(readOnly)),
                new CountedExports().withReadOnly("disk", new MemoryDevice(SIZE_BYTES), ""));
        PeerServer nbdkit = PeerServer.nbdkit(folder, "kw", SIZE_BYTES, false);
        PeerServer nbdkitReadOnly = PeerServer.nbdkit(folder, "kr", SIZE_BYTES, true);
        PeerServer qemu = PeerServer.qemu(folder, "qw", SIZE_BYTES, false);
        PeerServer qemuReadOnly = PeerServer.qemu(folder, "qr", SIZE_BYTES, true);
        ExecutorService threads = Executors.newFixedThreadPool(3)) {
      Future<List<List<Integer>>> ours = threads.submit(() -> playAll(writable, readOnly));
      Future<List<List<Integer>>> nbdkits =
          threads.submit(
              () -> playAll(nbdkit.address(), nbdkitReadOnly.address(), nbdkit, nbdkitReadOnly));
      Future<List<List<Integer>>> qemus =
          threads.submit(() -> playAll(qemu.address(), qemuReadOnly.address(), qemu, qemuReadOnly));
      List<List<Integer>> ourAnswers = ours.get();

      for (int i = 0; i < SCRIPTS; i++) {
        Script script = Script.of(SEED + i, SIZE_BYTES);
        for (Peer peer : Peer.values()) {
          List<Integer> theirs =
              switch (peer) {
                case NBDKIT -> nbdkits.get().get(i);
                case QEMU -> qemus.get().get(i);
              };
          for (Seen seen : differences(peer, script, ourAnswers.get(i), theirs)) {
            Difference difference = Difference.of(seen);
            if (difference == null) {
              unknown.add(seen);
            } else {
              known.merge(difference, 1, Integer::sum);
            }
          }
        }
      }
      reporter.publishEntry("differences", known.toString());
      reporter.publishEntry(
          "deaths",
          "nbdkit "
              + (nbdkit.deaths() + nbdkitReadOnly.deaths())
              + ", qemu-nbd "
              + (qemu.deaths() + qemuReadOnly.deaths()));
    }

    assertThat(unknown).as("seed %d: differences that nobody knows", SEED).isEmpty();
    assertThat(known).as("seed %d", SEED).containsOnlyKeys(Difference.values());
  }

  private static List<Seen> differences(
      Peer peer, Script script, List<Integer> ours, List<Integer> theirs) {
    List<Seen> differences = new ArrayList<>();
    int options = script.options().size();
    for (int i = 0; i < Math.min(ours.size(), theirs.size()); i++) {
      if (!ours.get(i).equals(theirs.get(i))) {
        differences.add(
            new Seen(
                peer,
                script,
                i < options ? script.options().get(i) : null,
                i > options ? script.requests().get(i - options - 1) : null,
                ours.get(i),
                theirs.get(i)));
      }
    }
    return differences;
  }

  @Test
  void areAllInTheTable() throws IOException {
    String table = Files.readString(Path.of("docs", "differences.md"));
    List<String> rows =
        Pattern.compile("^\\| `([A-Z_]+)` \\|", Pattern.MULTILINE)
            .matcher(table)
            .results()
            .map(match -> match.group(1))
            .toList();

    assertThat(rows)
        .containsExactlyElementsOf(
            Arrays.stream(Difference.values()).map(Difference::name).toList());
  }
}
