package io.filterd.daemon.cli;

import io.filterd.daemon.control.Progress;
import io.filterd.daemon.control.Sizes;
import java.io.Console;
import java.io.PrintStream;
import java.util.Locale;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/**
 * Draws how far a long operation is on a terminal; prints nothing where there is none, so that logs
 * stay clean.
 */
final class ProgressBar implements Progress {
  private static final int WIDTH = 30;
  private static final long REDRAW_NANOS = 100_000_000;

  private final PrintStream terminal;
  private final String label;
  private final LongSupplier nanoTime;

  /** What is counted, if not bytes. */
  private final @Nullable String things;

  private final long startNanos;
  private long drawnNanos;
  private boolean drawn;

  ProgressBar(PrintStream terminal, String label, LongSupplier nanoTime) {
    this(terminal, label, nanoTime, null);
  }

  private ProgressBar(
      PrintStream terminal, String label, LongSupplier nanoTime, @Nullable String things) {
    this.things = things;
    this.terminal = terminal;
    this.label = label;
    this.nanoTime = nanoTime;
    this.startNanos = nanoTime.getAsLong();
  }

  /** A bar on the standard error stream if that is a terminal; else nothing. */
  static Progress on(PrintStream terminal, String label) {
    return isTerminal() ? new ProgressBar(terminal, label, System::nanoTime) : Progress.NONE;
  }

  /** A bar that counts things, such as {@code disks}, on the standard error stream. */
  static Progress counting(PrintStream terminal, String label, String things) {
    return isTerminal()
        ? new ProgressBar(terminal, label, System::nanoTime, things)
        : Progress.NONE;
  }

  @SuppressWarnings("SystemConsoleNull") // It is null still, where the input is no terminal.
  private static boolean isTerminal() {
    Console console = System.console();
    return console != null && console.isTerminal();
  }

  @Override
  public boolean at(long doneBytes, long totalBytes) {
    long now = nanoTime.getAsLong();
    boolean complete = doneBytes >= totalBytes;
    if (drawn && !complete && now - drawnNanos < REDRAW_NANOS) {
      return true;
    }
    drawn = true;
    drawnNanos = now;
    double share = totalBytes == 0 ? 1 : (double) doneBytes / totalBytes;
    int filled = (int) Math.round(share * WIDTH);
    double seconds = (now - startNanos) / 1e9;
    double rate = seconds > 0 ? doneBytes / seconds : 0;
    String rest =
        complete || rate <= 0
            ? ""
            : String.format(Locale.ROOT, "  %.0f s left", (totalBytes - doneBytes) / rate);
    terminal.printf(
        Locale.ROOT,
        "\r%s [%s%s] %3.0f %%  %s%s\u001b[K",
        label,
        "#".repeat(filled),
        " ".repeat(WIDTH - filled),
        share * 100,
        things == null
            ? Sizes.text((long) rate) + "/s"
            : doneBytes + " of " + totalBytes + " " + things,
        rest);
    if (complete) {
      terminal.println();
    }
    terminal.flush();
    return true;
  }
}
