package io.filterd.crypto;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.crypto.SecretMemoryStatus.Kind;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SecretBytesTest {
  @Test
  void startsAsZerosEvenWhereAnotherSecretWas() {
    SecretMemory memory = new SecretMemory(Kind.LOCKED);
    SecretBytes old = new SecretBytes(memory, 100);
    long address = old.segment().address();
    old.segment().fill((byte) 7);
    old.close();

    try (SecretBytes secret = new SecretBytes(memory, 100)) {
      assertThat(secret.segment().address()).isEqualTo(address);
      assertThat(bytes(secret)).isEqualTo(new byte[100]);
    }
  }

  @Test
  void wipesOnClose() {
    SecretMemory memory = new SecretMemory(Kind.LOCKED);
    SecretBytes secret = new SecretBytes(memory, 64);
    MemorySegment behindItsBack =
        MemorySegment.ofAddress(secret.segment().address()).reinterpret(64);
    Libc.random(secret.segment());

    secret.close();

    assertThat(behindItsBack.toArray(ValueLayout.JAVA_BYTE)).isEqualTo(new byte[64]);
  }

  @Test
  void cutsOffWhoKeptTheSegment() {
    SecretBytes secret = SecretBytes.allocate(32);
    MemorySegment kept = secret.segment();
    secret.close();
    secret.close();

    assertThatIllegalStateException().isThrownBy(() -> kept.get(ValueLayout.JAVA_BYTE, 0));
    assertThatIllegalStateException().isThrownBy(secret::segment);
    assertThatIllegalStateException().isThrownBy(secret::copy);
    assertThatIllegalStateException().isThrownBy(() -> secret.copySecretTo(new byte[32], 0));
    try (SecretBytes other = SecretBytes.allocate(32)) {
      assertThatIllegalStateException().isThrownBy(() -> other.sameAs(secret));
      assertThatIllegalStateException().isThrownBy(() -> secret.sameAs(other));
    }
  }

  @Test
  void dealsOutRegionsWithoutOverlapAndTakesThemBack() {
    SecretMemory memory = new SecretMemory(Kind.LOCKED);
    List<SecretBytes> secrets = new ArrayList<>();
    for (int i = 0; i < 3000; i++) {
      SecretBytes secret = new SecretBytes(memory, 1 + i % 200);
      secret.segment().fill((byte) i);
      secrets.add(secret);
    }
    for (int i = 0; i < secrets.size(); i++) {
      byte[] expected = new byte[1 + i % 200];
      Arrays.fill(expected, (byte) i);
      assertThat(bytes(secrets.get(i))).isEqualTo(expected);
    }
    long reserved = memory.status().reservedBytes();
    secrets.forEach(SecretBytes::close);
    assertThat(memory.status()).isEqualTo(new SecretMemoryStatus(Kind.LOCKED, reserved, 0));

    for (int i = 0; i < 3000; i++) {
      new SecretBytes(memory, 64).close();
    }
    assertThat(memory.status().reservedBytes()).isEqualTo(reserved);
  }

  @Test
  void fitsASecretBetweenOthers() {
    SecretMemory memory = new SecretMemory(Kind.LOCKED);
    SecretBytes first = new SecretBytes(memory, 64);
    SecretBytes second = new SecretBytes(memory, 64);
    SecretBytes third = new SecretBytes(memory, 64);
    long gap = second.segment().address();
    second.close();

    try (SecretBytes tooLong = new SecretBytes(memory, 65);
        SecretBytes fits = new SecretBytes(memory, 64)) {
      assertThat(tooLong.segment().address()).isGreaterThan(third.segment().address());
      assertThat(fits.segment().address()).isEqualTo(gap);
    }
    first.close();
    third.close();
  }

  @Test
  void refusesLengthsOutsideItsLimits() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> SecretBytes.allocate(0))
        .withMessage("secret: 0 bytes (expected: 1..65536)");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> SecretBytes.allocate(SecretBytes.MAX_LENGTH_BYTES + 1));
    SecretBytes.allocate(SecretBytes.MAX_LENGTH_BYTES).close();
  }

  @Test
  void isLockedUndumpableAndNotInheritedInBothKindsOfMemory() throws IOException {
    SecretMemory locked = new SecretMemory(Kind.LOCKED);
    try (SecretBytes best = SecretBytes.allocate(32);
        SecretBytes plain = new SecretBytes(locked, 32)) {
      // proc(5), smaps: locked, do not dump, do not copy on fork.
      assertThat(flags(best.segment().address())).contains("lo", "dd", "dc");
      assertThat(flags(plain.segment().address())).contains("lo", "dd", "dc");
    }
  }

  @Test
  void copiesInAndOut(@TempDir Path folder) throws IOException {
    byte[] bytes = {1, 2, 3, 4, 5};
    Path file = Files.write(folder.resolve("secret"), bytes);
    try (SecretBytes ofArray = SecretBytes.copyOf(bytes);
        SecretBytes ofSecret = ofArray.copy();
        SecretBytes ofFile = SecretBytes.read(file, 5)) {
      assertThat(bytes(ofArray)).isEqualTo(bytes);
      assertThat(bytes(ofFile)).isEqualTo(bytes);
      assertThat(ofArray.sameAs(ofSecret)).isTrue();
      assertThat(ofArray.sameAs(ofFile)).isTrue();
      ofSecret.segment().set(ValueLayout.JAVA_BYTE, 4, (byte) 6);
      assertThat(ofArray.sameAs(ofSecret)).isFalse();
    }
    assertThatThrownBy(() -> SecretBytes.read(file, 4))
        .isInstanceOf(IOException.class)
        .hasMessage(file + ": longer (expected: 1..4 bytes)");
    Files.write(file, new byte[0]);
    assertThatThrownBy(() -> SecretBytes.read(file, 4)).hasMessageContaining("empty");
  }

  @Test
  void differsByLengthAndByChance() {
    try (SecretBytes one = SecretBytes.random(32);
        SecretBytes two = SecretBytes.random(32);
        SecretBytes longer = SecretBytes.allocate(33)) {
      assertThat(one.sameAs(two)).isFalse();
      assertThat(one.sameAs(longer)).isFalse();
      assertThat(one.sameAs(one)).isTrue();
    }
  }

  @Test
  void saysNothingOfItsContent() {
    try (SecretBytes secret = SecretBytes.random(64)) {
      assertThat(secret).hasToString("SecretBytes[64 bytes]");
    }
  }

  private static byte[] bytes(SecretBytes secret) {
    byte[] bytes = new byte[secret.lengthBytes()];
    secret.copySecretTo(bytes, 0);
    return bytes;
  }

  private static List<String> flags(long address) throws IOException {
    boolean inside = false;
    for (String line : Files.readAllLines(Path.of("/proc/self/smaps"))) {
      if (line.matches("[0-9a-f]+-[0-9a-f]+ .*")) {
        String[] range = line.substring(0, line.indexOf(' ')).split("-", -1);
        inside =
            Long.compareUnsigned(Long.parseUnsignedLong(range[0], 16), address) <= 0
                && Long.compareUnsigned(address, Long.parseUnsignedLong(range[1], 16)) < 0;
      } else if (inside && line.startsWith("VmFlags:")) {
        return List.of(line.substring("VmFlags:".length()).trim().split(" ", -1));
      }
    }
    throw new AssertionError("no mapping at " + Long.toHexString(address));
  }
}
