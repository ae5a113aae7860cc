package io.filterd.keys;

import io.filterd.crypto.SecretBytes;
import io.filterd.keys.KeyException.Reason;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Runs the programs that seal and unseal. Secrets go by pipes between them and secret memory, never
 * on a command line, in the environment or in a file. Safe for many threads.
 */
final class SealTool {
  /** The length of the secrets that are sealed: those of a TPM are at most 128 bytes. */
  static final int SECRET_BYTES = 32;

  /** For each program; a TPM takes some hundred milliseconds for a command. */
  private static final int TIMEOUT_SECONDS = 30;

  private static final int MAX_ERROR_BYTES = 8192;

  private SealTool() {}

  /** What a program said when it failed. */
  static final class Failed extends Exception {
    private static final long serialVersionUID = 1L;

    Failed(String program, String errors) {
      super(program + ": " + errors);
    }

    /** Whether it said this. */
    boolean says(String words) {
      return String.valueOf(getMessage()).contains(words);
    }

    /** The last line that it wrote, harmless on a terminal. */
    String lastLine() {
      String[] lines = String.valueOf(getMessage()).strip().split("\n", -1);
      String telling = lines[lines.length - 1];
      for (String line : lines) {
        // The tools of the TPM say last only that they could not be run.
        if (line.startsWith("ERROR:") && !line.contains("Unable to run")) {
          telling = line;
        }
      }
      String start = telling.length() > 200 ? telling.substring(0, 200) + "..." : telling;
      return start.replaceAll("\\p{Cc}", "?");
    }
  }

  /** Runs a program that has nothing to do with secrets. */
  static void run(List<String> command) throws KeyException, Failed {
    run(command, null, null);
  }

  /** Runs a program that reads a secret. */
  static void feed(List<String> command, SecretBytes secret) throws KeyException, Failed {
    try (SecretPipe input = new SecretPipe()) {
      input.write(secret);
      run(command, input, null);
    } catch (IOException failure) {
      throw unavailable(command, failure);
    }
  }

  /** The secret of {@link #SECRET_BYTES} that a program writes. The caller closes it. */
  static SecretBytes read(List<String> command) throws KeyException, Failed {
    try (SecretPipe output = new SecretPipe();
        SecretBytes taken = SecretBytes.allocate(SECRET_BYTES + 1)) {
      run(command, null, output);
      int length = output.take(taken);
      if (length != SECRET_BYTES) {
        throw new KeyException(
            Reason.PROTOCOL,
            "%s: %d bytes (expected: %d)".formatted(command.getFirst(), length, SECRET_BYTES));
      }
      return SecretBytes.copyOf(taken.segment().asSlice(0, SECRET_BYTES));
    } catch (IOException failure) {
      throw unavailable(command, failure);
    }
  }

  private static void run(
      List<String> command, @Nullable SecretPipe input, @Nullable SecretPipe output)
      throws KeyException, Failed {
    Process process = null;
    try {
      ProcessBuilder builder = new ProcessBuilder(command);
      builder.redirectOutput(
          output == null
              ? ProcessBuilder.Redirect.DISCARD
              : ProcessBuilder.Redirect.to(output.writerName()));
      if (input != null) {
        builder.redirectInput(input.readerName());
      }
      process = builder.start();
      if (input == null) {
        process.getOutputStream().close();
      }
      if (!process.waitFor(TIMEOUT_SECONDS, TimeUnit.SECONDS)) {
        throw new KeyException(
            Reason.UNAVAILABLE,
            "%s: not done after %d s".formatted(command.getFirst(), TIMEOUT_SECONDS));
      }
      if (process.exitValue() != 0) {
        byte[] errors = process.getErrorStream().readNBytes(MAX_ERROR_BYTES);
        throw new Failed(command.getFirst(), new String(errors, StandardCharsets.UTF_8));
      }
    } catch (IOException failure) {
      throw unavailable(command, failure);
    } catch (InterruptedException stopped) {
      Thread.currentThread().interrupt();
      throw unavailable(command, stopped);
    } finally {
      if (process != null) {
        process.destroyForcibly();
      }
    }
  }

  private static KeyException unavailable(List<String> command, Exception failure) {
    return new KeyException(
        Reason.UNAVAILABLE, command.getFirst() + ": " + failure.getMessage(), failure);
  }

  /** What is done in a folder for the programs' files. */
  interface Work<T> {
    T in(Path folder) throws KeyException, Failed, IOException;
  }

  /** Does {@code work} in a folder that only this user may enter, and that goes with it. */
  static <T> T inFolder(Work<T> work) throws KeyException, Failed {
    try {
      Path folder = Files.createTempDirectory("filterd-seal");
      try {
        return work.in(folder);
      } finally {
        try (Stream<Path> files = Files.list(folder)) {
          for (Path file : files.toList()) {
            Files.delete(file);
          }
        }
        Files.delete(folder);
      }
    } catch (IOException failure) {
      throw new KeyException(
          Reason.UNAVAILABLE, "files for sealing: " + failure.getMessage(), failure);
    }
  }
}
