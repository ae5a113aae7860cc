package io.filterd.keys.pkcs11;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.crypto.SecretBytes;
import io.filterd.keys.ForkedJvm;
import io.filterd.keys.KeyException;
import io.filterd.keys.KeyException.Reason;
import io.filterd.keys.KeyLabel;
import io.filterd.keys.KeyProviders;
import io.filterd.keys.KeyReference;
import io.filterd.keys.KeyState;
import io.filterd.keys.ProviderStatus.State;
import io.filterd.keys.WrappingProvider;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.GeneralSecurityException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import javax.crypto.Cipher;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.SecretKeySpec;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Needs Debian's softhsm2 and opensc. */
class Pkcs11ProviderIT {
  private static final KeyLabel LABEL = new KeyLabel(KeyLabel.Scope.VM, "vm1");
  private static final byte[] DATA = "diskId=1\n".getBytes(StandardCharsets.UTF_8);

  @TempDir Path folder;
  private SoftToken token;

  @BeforeEach
  void makeToken() throws IOException, InterruptedException {
    token = new SoftToken(folder);
  }

  private WrappingProvider open() throws KeyException {
    return (WrappingProvider) KeyProviders.open("pkcs11", "hsm", token.settings());
  }

  private static void assertFails(ThrowingCallable call, Reason reason, String message) {
    assertThatThrownBy(call)
        .isInstanceOfSatisfying(
            KeyException.class,
            failure -> assertThat(failure.reason()).as(String.valueOf(failure)).isEqualTo(reason))
        .hasMessageContaining(message);
  }

  private static void assertOpens(
      WrappingProvider provider, KeyReference kek, byte[] wrapped, SecretBytes dek)
      throws KeyException {
    try (SecretBytes again = provider.unwrap(kek, wrapped, DATA)) {
      assertThat(again.sameAs(dek)).isTrue();
    }
  }

  @Test
  void wrapsUnderAKeyThatNeverLeavesTheTokenAndSurvivesARestart()
      throws IOException, InterruptedException, KeyException {
    KeyReference kek;
    byte[] wrapped;
    try (SecretBytes dek = SecretBytes.random(64)) {
      try (WrappingProvider provider = open()) {
        kek = provider.create(LABEL);
        wrapped = provider.wrap(kek, dek, DATA);

        assertThat(wrapped).hasSize(12 + 64 + 16);
        assertThat(provider.wrap(kek, dek, DATA)).isNotEqualTo(wrapped);
        assertOpens(provider, kek, wrapped, dek);
        assertThat(provider.status().state()).isEqualTo(State.READY);
      }
      try (WrappingProvider provider = open()) {
        assertThat(provider.status().state()).isEqualTo(State.LOCKED);
        assertOpens(provider, kek, wrapped, dek);
        assertThat(provider.describe(kek).state()).isEqualTo(KeyState.ACTIVE);
      }
    }
    assertThat(token.tool(SoftToken.PIN, "--list-objects", "--type", "secrkey"))
        .contains("AES length 32")
        .contains("filterd vm vm1")
        .contains(kek.keyId())
        .contains("encrypt, decrypt")
        .doesNotContain("wrap")
        .contains("always sensitive, never extractable, local");
  }

  @Test
  void saysWhyAKeyIsNotTheOne() throws KeyException {
    try (WrappingProvider provider = open();
        SecretBytes dek = SecretBytes.random(64)) {
      KeyReference kek = provider.create(LABEL);
      KeyReference other = provider.create(LABEL);
      byte[] wrapped = provider.wrap(kek, dek, DATA);

      assertFails(() -> provider.unwrap(other, wrapped, DATA), Reason.WRONG_KEY, "authenticate");
      assertFails(
          () -> provider.unwrap(kek, wrapped, new byte[] {1}), Reason.WRONG_KEY, "authenticate");
      for (int at = 0; at < wrapped.length; at++) {
        byte[] changed = wrapped.clone();
        changed[at] ^= 1;
        assertFails(() -> provider.unwrap(kek, changed, DATA), Reason.WRONG_KEY, "authenticate");
      }
      assertFails(
          () -> provider.unwrap(kek, new byte[28], DATA), Reason.PROTOCOL, "expected: 29..768");
      assertFails(
          () -> provider.unwrap(kek, new byte[769], DATA), Reason.PROTOCOL, "expected: 29..768");

      for (String id : List.of("00", "none", "AB", "../x")) {
        assertFails(
            () -> provider.describe(new KeyReference("hsm", id, kek.checkValue())),
            Reason.NOT_FOUND,
            "there is no key " + id + " in the token with label");
      }
      assertFails(
          () -> provider.describe(new KeyReference("hsm", kek.keyId(), other.checkValue())),
          Reason.WRONG_KEY,
          "another key of the same id");
      assertOpens(provider, kek, wrapped, dek);
    }
  }

  @Test
  void noticesThatAKeyWasReplacedBehindItsBack()
      throws IOException, InterruptedException, KeyException {
    try (WrappingProvider provider = open();
        SecretBytes dek = SecretBytes.random(64)) {
      KeyReference kek = provider.create(LABEL);
      byte[] wrapped = provider.wrap(kek, dek, DATA);
      String[] twin = {"--keygen", "--key-type", "AES:32", "--id", kek.keyId(), "--label", "twin"};
      token.tool(SoftToken.PIN, twin);
      assertOpens(provider, kek, wrapped, dek);

      token.tool(
          SoftToken.PIN, "--delete-object", "--type", "secrkey", "--label", "filterd vm vm1");
      assertFails(
          () -> provider.unwrap(kek, wrapped, DATA),
          Reason.WRONG_KEY,
          "another key of the same id");

      token.tool(SoftToken.PIN, "--delete-object", "--type", "secrkey", "--label", "twin");
      assertFails(() -> provider.unwrap(kek, wrapped, DATA), Reason.NOT_FOUND, "there is no key");
    }
  }

  @Test
  void wrapsAsOthersDo()
      throws IOException, InterruptedException, KeyException, GeneralSecurityException {
    byte[] secret = new byte[32];
    Arrays.fill(secret, (byte) 7);
    Path file = Files.write(folder.resolve("kek"), secret);
    token.tool(
        SoftToken.PIN,
        "--write-object",
        file.toString(),
        "--type",
        "secrkey",
        "--key-type",
        "AES:32",
        "--id",
        "c0ffee",
        "--usage-decrypt");
    SecretKeySpec key = new SecretKeySpec(secret, "AES");
    Cipher block = Cipher.getInstance("AES/ECB/NoPadding");
    block.init(Cipher.DECRYPT_MODE, key);
    byte[] checkValue = block.doFinal("filterd-kcv-v1\0\0".getBytes(StandardCharsets.US_ASCII));
    KeyReference kek =
        new KeyReference("hsm", "c0ffee", HexFormat.of().formatHex(checkValue, 0, 8));

    try (WrappingProvider provider = open();
        SecretBytes dek = SecretBytes.random(64)) {
      byte[] wrapped = provider.wrap(kek, dek, DATA);

      Cipher gcm = Cipher.getInstance("AES/GCM/NoPadding");
      gcm.init(Cipher.DECRYPT_MODE, key, new GCMParameterSpec(128, wrapped, 0, 12));
      gcm.updateAAD(DATA);
      byte[] expected = new byte[64];
      dek.copySecretTo(expected, 0);
      assertThat(gcm.doFinal(wrapped, 12, wrapped.length - 12)).isEqualTo(expected);
    }
  }

  @Test
  void revokesAndDestroysKeys() throws KeyException {
    try (WrappingProvider provider = open();
        SecretBytes dek = SecretBytes.random(64)) {
      KeyReference kek = provider.create(LABEL);
      byte[] wrapped = provider.wrap(kek, dek, DATA);

      provider.revoke(kek);
      provider.revoke(kek);

      assertThat(provider.describe(kek).state()).isEqualTo(KeyState.DEACTIVATED);
      assertFails(() -> provider.wrap(kek, dek, DATA), Reason.NOT_ACTIVE, "revoked");
      assertOpens(provider, kek, wrapped, dek);

      provider.destroy(kek);

      assertFails(() -> provider.unwrap(kek, wrapped, DATA), Reason.NOT_FOUND, "there is no key");
      assertFails(() -> provider.destroy(kek), Reason.NOT_FOUND, "there is no key");
    }
  }

  @Test
  void triesAWrongPinOnlyOnce() throws IOException, KeyException {
    token.writePin("000000");
    try (WrappingProvider provider = open()) {
      assertFails(() -> provider.create(LABEL), Reason.DENIED, "CKR_PIN_INCORRECT");
      // The right one now, in a file that looks as it did: had it been tried, it would work.
      FileTime changed = Files.getLastModifiedTime(token.pinFile());
      Files.writeString(token.pinFile(), SoftToken.PIN + "\n");
      Files.setLastModifiedTime(token.pinFile(), changed);
      assertFails(() -> provider.create(LABEL), Reason.DENIED, "has refused the PIN in");
      assertThat(provider.probe().state()).isEqualTo(State.LOCKED);
    }
    try (WrappingProvider provider = open()) {
      assertFails(() -> provider.create(LABEL), Reason.DENIED, "not tried again until");

      token.writePin(SoftToken.PIN);

      assertThat(provider.create(LABEL).provider()).isEqualTo("hsm");
    }
  }

  @Test
  void comesBackWithTheToken() throws IOException, KeyException {
    try (WrappingProvider provider = open();
        SecretBytes dek = SecretBytes.random(64)) {
      KeyReference kek = provider.create(LABEL);
      byte[] wrapped = provider.wrap(kek, dek, DATA);
      Path away = folder.resolve("away");

      for (int time = 0; time < 2; time++) {
        Files.move(token.folder(), away);
        assertFails(() -> provider.unwrap(kek, wrapped, DATA), Reason.UNAVAILABLE, token.label());
        assertFails(() -> provider.describe(kek), Reason.UNAVAILABLE, token.label());
        assertFails(() -> provider.create(LABEL), Reason.UNAVAILABLE, token.label());
        assertThat(provider.probe().state()).isEqualTo(State.UNAVAILABLE);
        Files.move(away, token.folder());

        assertOpens(provider, kek, wrapped, dek);
        assertThat(provider.probe().state()).isEqualTo(State.READY);
      }
    }
  }

  @Test
  void servesManyThreadsWhileAnotherTokenComesAndGoes()
      throws IOException, InterruptedException, KeyException, ExecutionException {
    SoftToken second = new SoftToken(Files.createDirectory(folder.resolve("second")));
    try (WrappingProvider provider = open();
        WrappingProvider other =
            (WrappingProvider) KeyProviders.open("pkcs11", "other", second.settings());
        ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
      KeyReference kek = provider.create(LABEL);
      KeyReference otherKek = other.create(LABEL);
      List<Future<Integer>> all = new ArrayList<>();
      Callable<Integer> work =
          () -> {
            int done = 0;
            try (SecretBytes dek = SecretBytes.random(64)) {
              for (; done < 25; done++) {
                assertOpens(provider, kek, provider.wrap(kek, dek, DATA), dek);
              }
            }
            return done;
          };
      for (int thread = 0; thread < 24; thread++) {
        all.add(threads.submit(work));
      }
      Path away = folder.resolve("away");
      Files.move(second.folder(), away);
      // Each look for it initialises the module again, which ends the sessions of all.
      assertFails(() -> other.describe(otherKek), Reason.UNAVAILABLE, second.label());
      Files.move(away, second.folder());
      assertThat(other.describe(otherKek).state()).isEqualTo(KeyState.ACTIVE);
      for (Future<Integer> one : all) {
        assertThat(one.get()).isEqualTo(25);
      }
    }
  }

  @Test
  void reconnectsWhileManyThreadsUseIt()
      throws IOException, InterruptedException, KeyException, ExecutionException {
    try (WrappingProvider provider = open();
        ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
      KeyReference kek = provider.create(LABEL);
      List<Future<Integer>> all = new ArrayList<>();
      CountDownLatch first = new CountDownLatch(16);
      CountDownLatch back = new CountDownLatch(1);
      Callable<Integer> work =
          () -> {
            int away = 0;
            try (SecretBytes dek = SecretBytes.random(64)) {
              first.countDown();
              while (back.getCount() > 0) {
                try {
                  assertOpens(provider, kek, provider.wrap(kek, dek, DATA), dek);
                } catch (KeyException gone) {
                  assertThat(gone.reason()).as("%s", gone).isEqualTo(Reason.UNAVAILABLE);
                  away++;
                }
              }
              assertOpens(provider, kek, provider.wrap(kek, dek, DATA), dek);
            }
            return away;
          };
      for (int thread = 0; thread < 16; thread++) {
        all.add(threads.submit(work));
      }
      first.await();
      Path away = folder.resolve("away");
      Files.move(token.folder(), away);
      assertFails(() -> provider.describe(kek), Reason.UNAVAILABLE, token.label());
      Files.move(away, token.folder());
      assertThat(provider.describe(kek).state()).isEqualTo(KeyState.ACTIVE);
      back.countDown();
      for (Future<Integer> one : all) {
        assertThat(one.get()).isNotNegative();
      }
    }
  }

  @Test
  void choosesATokenByItsSerialNumber() throws KeyException {
    String serial;
    try (WrappingProvider provider = open()) {
      String sentence = String.join(" ", provider.probe().details());
      serial = sentence.replaceAll(".*serial number ([0-9a-f]+)\\..*", "$1");
    }
    Map<String, String> settings = new HashMap<>(token.settings());
    settings.remove("tokenLabel");
    settings.put("tokenSerial", serial);
    try (WrappingProvider provider =
        (WrappingProvider) KeyProviders.open("pkcs11", "hsm", settings)) {
      assertThat(provider.probe().state()).isEqualTo(State.READY);
    }
    settings.put("tokenSerial", "0000");
    try (WrappingProvider provider =
        (WrappingProvider) KeyProviders.open("pkcs11", "hsm", settings)) {
      assertFails(() -> provider.create(LABEL), Reason.UNAVAILABLE, "no token with serial number");
    }
  }

  @Test
  void saysWhichSettingIsWrong() {
    Map<String, String> good = token.settings();
    assertWrong(good, "typo", "x", Reason.PROTOCOL, "setting typo: unknown");
    assertWrong(good, "module", "", Reason.PROTOCOL, "setting module: missing");
    assertWrong(good, "module", "x.so", Reason.PROTOCOL, "expected: an absolute name");
    assertWrong(good, "module", "/none.so", Reason.NOT_FOUND, "PKCS#11 module /none.so");
    assertWrong(
        good, "module", "/usr/lib/x86_64-linux-gnu/libc.so.6", Reason.NOT_FOUND, "no module");
    assertWrong(good, "tokenLabel", "", Reason.PROTOCOL, "setting tokenLabel: missing");
    assertWrong(good, "pinFile", "", Reason.PROTOCOL, "setting pinFile: missing");
    assertWrong(good, "sessions", "0", Reason.PROTOCOL, "expected: 1..64");
    assertWrong(good, "sessions", "65", Reason.PROTOCOL, "expected: 1..64");
  }

  private static void assertWrong(
      Map<String, String> good, String setting, String value, Reason reason, String message) {
    Map<String, String> settings = new HashMap<>(good);
    settings.put(setting, value);
    assertFails(() -> KeyProviders.open("pkcs11", "hsm", settings), reason, message);
  }

  @Test
  void refusesAPinFileThatOthersMayRead() throws IOException, KeyException {
    Files.setPosixFilePermissions(token.pinFile(), PosixFilePermissions.fromString("rw-r--r--"));
    try (WrappingProvider provider = open()) {
      assertFails(() -> provider.create(LABEL), Reason.DENIED, "PIN file " + token.pinFile());
    }
  }

  @Test
  void aHeapDumpHoldsNeitherDataKeyNorPin() throws IOException, InterruptedException {
    ForkedJvm.run(
        folder,
        List.of("-Xmx256m"),
        HeapProbe.class,
        folder.toString(),
        token.label(),
        token.pinFile().toString());

    String dump = text(folder.resolve("heap.hprof"));
    String dek = text(folder.resolve("dek"));
    // The search itself works: the disk's class name is there.
    assertThat(dump.contains("io/filterd/keys/pkcs11/Token")).isTrue();
    assertThat(dek).hasSize(64);
    for (int part = 0; part < dek.length(); part += 16) {
      assertThat(dump.contains(dek.substring(part, part + 16))).as("DEK").isFalse();
    }
    assertThat(dump.contains(SoftToken.PIN)).as("PIN").isFalse();
  }

  /** A character for each byte. */
  private static String text(Path file) throws IOException {
    return Files.readString(file, StandardCharsets.ISO_8859_1);
  }
}
