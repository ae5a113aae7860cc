package io.filterd.bench;

import io.filterd.crypto.SecretBytes;
import io.filterd.keys.chronicle.DekCache;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;

/**
 * How long a fresh JVM takes from {@code main} to the first data key that was put into the DEK
 * cache and read back. Starts itself ten times, with the options that it was started with, and
 * prints the fastest, the median and the slowest run in milliseconds. Results:
 * bench/results/dek-cache-cold-start.md.
 */
public final class DekCacheColdStart {
  private static final int RUNS = 10;
  private static final String ONCE = "once";

  private DekCacheColdStart() {}

  /** Runs ten times in JVMs of their own, or once here if {@code arguments} say so. */
  public static void main(String[] arguments) throws IOException, InterruptedException {
    if (List.of(arguments).contains(ONCE)) {
      System.out.println(TimeUnit.NANOSECONDS.toMillis(useOnce()));
      return;
    }
    long[] millis = new long[RUNS];
    for (int run = 0; run < RUNS; run++) {
      millis[run] = runInAFreshJvm();
    }
    Arrays.sort(millis);
    System.out.println(
        "DEK cache, first use in a fresh JVM, %d runs: fastest %d ms, median %d ms, slowest %d ms"
            .formatted(RUNS, millis[0], (millis[4] + millis[5]) / 2, millis[RUNS - 1]));
  }

  private static long useOnce() {
    long start = System.nanoTime();
    try (DekCache cache = new DekCache(4096);
        SecretBytes dek = SecretBytes.random(DekCache.DEK_BYTES)) {
      cache.put("link", dek);
      cache.open("link").orElseThrow().close();
      return System.nanoTime() - start;
    }
  }

  private static long runInAFreshJvm() throws IOException, InterruptedException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(ManagementFactory.getRuntimeMXBean().getInputArguments());
    command.addAll(List.of("-cp", System.getProperty("java.class.path")));
    command.addAll(List.of(DekCacheColdStart.class.getName(), ONCE));
    Process process =
        new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.DISCARD).start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    if (process.waitFor() != 0) {
      throw new IOException("a run failed: " + output);
    }
    return Long.parseLong(output.strip());
  }
}
