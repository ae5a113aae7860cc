package io.filterd.vmdk;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.block.BlockDevice;
import io.filterd.block.Blocking;
import io.filterd.block.Durability;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.SplittableRandom;
import javax.crypto.Cipher;
import javax.crypto.Mac;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.SecretKeySpec;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** {@code docs/decrypt.py} and the vectors of {@code docs/format.md}, against JDK ciphers. */
class DecryptorIT {
  private static final Path DOCS = Path.of("docs");
  private static final byte[] KEK = sequence(0, 32);
  private static final byte[] DEK = sequence(0x40, 64);
  private static final byte[] NONCE = sequence(0xa0, 12);
  private static final String DISK_ID = "0b0f5c5e-0000-4000-8000-00000000000a";
  private static final String LINK_ID = "0b0f5c5e-0000-4000-8000-00000000000b";

  @TempDir Path folder;

  private static byte[] sequence(int first, int length) {
    byte[] bytes = new byte[length];
    for (int i = 0; i < length; i++) {
      bytes[i] = (byte) (first + i);
    }
    return bytes;
  }

  private static Locker locker(String keyId, int unitBytes) throws GeneralSecurityException {
    Mac mac = Mac.getInstance("HmacSHA256");
    mac.init(new SecretKeySpec(KEK, "HmacSHA256"));
    String check = HexFormat.of().formatHex(mac.doFinal("filterd-kcv-v1".getBytes(UTF_8)), 0, 8);
    Cipher gcm = Cipher.getInstance("AES/GCM/NoPadding");
    gcm.init(Cipher.ENCRYPT_MODE, new SecretKeySpec(KEK, "AES"), new GCMParameterSpec(128, NONCE));
    gcm.updateAAD(
        """
        filterd-dek-v1
        diskId=%s
        linkId=%s
        cipher=aes-256-xts
        unitBytes=%d
        provider=native
        keyId=%s
        """
            .formatted(DISK_ID, LINK_ID, unitBytes, keyId)
            .getBytes(UTF_8));
    byte[] wrapped = gcm.doFinal(DEK);
    byte[] all = Arrays.copyOf(NONCE, NONCE.length + wrapped.length);
    System.arraycopy(wrapped, 0, all, NONCE.length, wrapped.length);
    return new Locker(
        "native", keyId, check, "AES-256-GCM", Base64.getEncoder().encodeToString(all));
  }

  /** AES-256-XTS of one data unit, by its definition. */
  private static byte[] encipher(long unit, byte[] plain) throws GeneralSecurityException {
    Cipher data = Cipher.getInstance("AES/ECB/NoPadding");
    data.init(Cipher.ENCRYPT_MODE, new SecretKeySpec(DEK, 0, 32, "AES"));
    Cipher tweak = Cipher.getInstance("AES/ECB/NoPadding");
    tweak.init(Cipher.ENCRYPT_MODE, new SecretKeySpec(DEK, 32, 32, "AES"));
    byte[] number = new byte[16];
    ByteBuffer.wrap(number).order(ByteOrder.LITTLE_ENDIAN).putLong(unit);
    byte[] mask = tweak.doFinal(number);
    byte[] out = new byte[plain.length];
    for (int at = 0; at < plain.length; at += 16) {
      byte[] block = Arrays.copyOfRange(plain, at, at + 16);
      for (int i = 0; i < 16; i++) {
        block[i] ^= mask[i];
      }
      block = data.doFinal(block);
      for (int i = 0; i < 16; i++) {
        out[at + i] = (byte) (block[i] ^ mask[i]);
      }
      int carry = 0;
      for (int i = 0; i < 16; i++) {
        int shifted = Byte.toUnsignedInt(mask[i]) << 1 | carry;
        mask[i] = (byte) shifted;
        carry = shifted >> 8;
      }
      mask[0] ^= (byte) (carry * 0x87);
    }
    return out;
  }

  @Test
  void makesTheVectorsOfTheFormatsPage() throws Exception {
    String page = Files.readString(DOCS.resolve("format.md"));
    byte[] counted = new byte[4096];
    for (int i = 0; i < counted.length; i++) {
      counted[i] = (byte) (i % 251);
    }

    assertThat(page).contains(locker("key 1", 4096).format());
    long[] units = {0, 1, 0x123456789L};
    List<byte[]> plain = List.of(new byte[4096], new byte[4096], counted);
    for (int i = 0; i < units.length; i++) {
      byte[] cipher = encipher(units[i], plain.get(i));
      byte[] hash = MessageDigest.getInstance("SHA-256").digest(cipher);
      HexFormat hex = HexFormat.of();
      assertThat(page)
          .contains(
              "`%s` `%s` | `%s` |"
                  .formatted(
                      hex.formatHex(cipher, 0, 16),
                      hex.formatHex(cipher, 4080, 4096),
                      hex.formatHex(hash)));
    }
  }

  @ParameterizedTest
  @EnumSource
  void decryptsDisksOfBothUnits(Layout layout) throws Exception {
    for (int unitBytes : new int[] {512, 4096}) {
      // A last unit that is short, holes, and sectors of zeros that were never enciphered.
      byte[] content = TestDisks.content(9 * TestDisks.GRAIN + 1536, new SplittableRandom(3));
      content[content.length - 1] = 1;
      Arrays.fill(content, 4096, 4096 + 512, (byte) 0);
      content[0] = 1;
      Path file = folder.resolve("disk-" + unitBytes + ".vmdk");
      Locker other = new Locker("kmip", "1", "0123456789abcdef", "AES-256-GCM", "AAAA");
      EncryptionMetadata metadata =
          EncryptionMetadata.of(unitBytes, DISK_ID, LINK_ID, locker("clé, 1", unitBytes))
              .withKeySafe(List.of(other, locker("clé, 1", unitBytes)));
      CreateOptions options = CreateOptions.ofSize(content.length, layout);
      VmdkDisk.create(file, options.withEncryption(metadata));
      try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_WRITE)) {
        store(disk.link(), content, unitBytes);
      }
      Path out = folder.resolve("out-" + unitBytes + ".raw");

      run(0, file, out, KEK);

      assertThat(Files.readAllBytes(out)).isEqualTo(content);
      assertThat(run(1, file, folder.resolve("wrong.raw"), DEK)).contains("opens no locker");
    }
  }

  private static void store(BlockDevice link, byte[] content, int unitBytes) throws Exception {
    for (int at = 0; at < content.length; at += TestDisks.GRAIN) {
      int end = Math.min(content.length, at + TestDisks.GRAIN);
      byte[] grain = Arrays.copyOfRange(content, at, end);
      if (Arrays.equals(grain, new byte[grain.length])) {
        continue;
      }
      for (int from = 0; from < grain.length; from += unitBytes) {
        int to = Math.min(grain.length, from + unitBytes);
        byte[] plain = Arrays.copyOfRange(grain, from, to);
        byte[] unit = encipher((at + from) / unitBytes, plain);
        System.arraycopy(unit, 0, grain, from, unit.length);
      }
      if (at == 0) {
        Arrays.fill(grain, 4096, 4096 + 512, (byte) 0);
      }
      link.write(at, TestDisks.direct(grain), Durability.BUFFERED, Blocking.ALLOWED);
    }
  }

  private String run(int exitCode, Path disk, Path out, byte[] kek)
      throws IOException, InterruptedException {
    Path key = folder.resolve("kek.hex");
    Files.writeString(key, HexFormat.of().formatHex(kek, 0, 32) + "\n");
    Process process =
        new ProcessBuilder(
                "/usr/bin/python3",
                DOCS.resolve("decrypt.py").toString(),
                "--kek-hex-file",
                key.toString(),
                disk.toString(),
                out.toString())
            .redirectErrorStream(true)
            .start();
    String output = new String(process.getInputStream().readAllBytes(), UTF_8);
    assertThat(process.waitFor()).as(output).isEqualTo(exitCode);
    return output;
  }
}
