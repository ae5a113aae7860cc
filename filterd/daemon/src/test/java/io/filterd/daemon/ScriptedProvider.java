package io.filterd.daemon;

import io.filterd.crypto.SecretBytes;
import io.filterd.keys.ExportingProvider;
import io.filterd.keys.KeyDescription;
import io.filterd.keys.KeyEncryptionKey;
import io.filterd.keys.KeyException;
import io.filterd.keys.KeyException.Reason;
import io.filterd.keys.KeyLabel;
import io.filterd.keys.KeyReference;
import io.filterd.keys.KeyState;
import io.filterd.keys.ProviderNeeds;
import io.filterd.keys.ProviderStatus;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * Keeps its keys in files, and does what a file says with each call: {@code ok}, {@code fail},
 * {@code slow MILLIS} or {@code hang}, until the file says something else. A key's state is in a
 * file beside it. Writes down when each fetch began and ended.
 */
final class ScriptedProvider implements ExportingProvider {
  static final String TYPE = "scripted";

  private final String name;
  private final Path folder;

  ScriptedProvider(String name, Path folder) {
    this.name = name;
    this.folder = folder;
  }

  /** Makes the folder of a provider that does what it is asked. */
  static void prepare(Path folder) throws IOException {
    Files.createDirectories(folder.resolve("keys"));
    tell(folder, "ok");
  }

  /** Says what the provider does from now on. */
  static void tell(Path folder, String script) throws IOException {
    Path next = Files.writeString(folder.resolve("script.new"), script);
    Files.move(next, folder.resolve("script"), java.nio.file.StandardCopyOption.ATOMIC_MOVE);
  }

  /** A fetch of a key. */
  record Fetch(long beginNanos, long endNanos, boolean succeeded) {}

  /** The fetches so far. */
  static List<Fetch> fetches(Path folder) throws IOException {
    List<Fetch> fetches = new ArrayList<>();
    for (String line : Files.readAllLines(folder.resolve("fetches"))) {
      String[] parts = line.split(" ", 3);
      fetches.add(
          new Fetch(Long.parseLong(parts[0]), Long.parseLong(parts[1]), parts[2].equals("ok")));
    }
    return fetches;
  }

  @Override
  public String name() {
    return name;
  }

  private void obey() throws KeyException {
    try {
      String script = Files.readString(folder.resolve("script"));
      if (script.equals("fail")) {
        throw new KeyException(Reason.UNAVAILABLE, "provider " + name + " was told to fail");
      }
      if (script.startsWith("slow ")) {
        pause(Long.parseLong(script.substring(5)));
      }
      while (Files.readString(folder.resolve("script")).equals("hang")) {
        pause(20);
      }
    } catch (IOException failure) {
      throw new UncheckedIOException(failure);
    } catch (InterruptedException stop) {
      Thread.currentThread().interrupt();
      throw new KeyException(Reason.UNAVAILABLE, "interrupted", stop);
    }
  }

  private static void pause(long millis) throws InterruptedException {
    var _ = new CountDownLatch(1).await(millis, TimeUnit.MILLISECONDS);
  }

  private Path file(String keyId) {
    return folder.resolve("keys").resolve(keyId);
  }

  @Override
  public KeyReference create(KeyLabel label) throws KeyException {
    obey();
    String keyId =
        label.name().replace('/', '-') + "-" + UUID.randomUUID().toString().substring(0, 8);
    try (SecretBytes made = SecretBytes.random(KeyEncryptionKey.LENGTH_BYTES)) {
      byte[] bytes = new byte[KeyEncryptionKey.LENGTH_BYTES];
      made.copySecretTo(bytes, 0);
      Files.write(file(keyId), bytes);
      try (KeyEncryptionKey key = KeyEncryptionKey.owning(name, keyId, made.copy())) {
        return key.reference();
      }
    } catch (IOException failure) {
      throw new UncheckedIOException(failure);
    }
  }

  @Override
  public KeyEncryptionKey open(KeyReference reference) throws KeyException {
    long begin = System.nanoTime();
    boolean succeeded = false;
    try {
      obey();
      KeyEncryptionKey key =
          KeyEncryptionKey.verified(reference, SecretBytes.copyOf(bytes(reference)));
      succeeded = true;
      return key;
    } finally {
      note(begin, succeeded);
    }
  }

  private synchronized void note(long begin, boolean succeeded) {
    try {
      Files.writeString(
          folder.resolve("fetches"),
          begin + " " + System.nanoTime() + " " + (succeeded ? "ok" : "failed") + "\n",
          StandardOpenOption.CREATE,
          StandardOpenOption.APPEND);
    } catch (IOException failure) {
      throw new UncheckedIOException(failure);
    }
  }

  private byte[] bytes(KeyReference reference) throws KeyException {
    try {
      return Files.readAllBytes(file(reference.keyId()));
    } catch (NoSuchFileException missing) {
      throw new KeyException(
          Reason.NOT_FOUND, "provider " + name + " has no key " + reference.keyId(), missing);
    } catch (IOException failure) {
      throw new UncheckedIOException(failure);
    }
  }

  @Override
  public KeyDescription describe(KeyReference reference) throws KeyException {
    obey();
    var _ = bytes(reference);
    Path state = file(reference.keyId() + ".state");
    try {
      return new KeyDescription(
          reference,
          Files.exists(state) ? KeyState.valueOf(Files.readString(state)) : KeyState.ACTIVE,
          Optional.empty(),
          Optional.empty());
    } catch (IOException failure) {
      throw new UncheckedIOException(failure);
    }
  }

  @Override
  public ProviderStatus status() {
    return new ProviderStatus(name, TYPE, ProviderStatus.State.READY, List.of(), needs());
  }

  @Override
  public ProviderStatus probe() {
    try {
      obey();
      return status();
    } catch (KeyException failure) {
      return new ProviderStatus(
          name,
          TYPE,
          ProviderStatus.State.UNAVAILABLE,
          List.of(String.valueOf(failure.getMessage())),
          needs());
    }
  }

  private static ProviderNeeds needs() {
    return new ProviderNeeds(
        List.of(
            new ProviderNeeds.Server("one:5696", ProviderStatus.Health.GREEN, ""),
            new ProviderNeeds.Server("two:5696", ProviderStatus.Health.RED, "does not answer")),
        List.of(),
        ProviderNeeds.Keeping.ELSEWHERE);
  }

  @Override
  public void close() {}
}
