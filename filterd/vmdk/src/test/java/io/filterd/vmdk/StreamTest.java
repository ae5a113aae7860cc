package io.filterd.vmdk;

import static io.filterd.vmdk.TestDisks.GRAIN;
import static io.filterd.vmdk.TestDisks.SECTOR;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.block.BlockException;
import io.filterd.vmdk.TestDisks.Stream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Stream-optimized files, whole and cut off. */
class StreamTest {
  private static final int GRAINS = 7;
  private static final int FIRST_GRAIN_AT = 128 * SECTOR;

  /** The second grain is left out of the file, the last one is cut short by the disk's end. */
  private static final byte[] CONTENT = content();

  private static byte[] content() {
    byte[] content = new byte[GRAINS * GRAIN - 5 * SECTOR];
    SplittableRandom random = new SplittableRandom(7);
    for (int at = 0; at < content.length; at++) {
      int grain = at / GRAIN;
      content[at] = grain == 1 ? 0 : grain % 3 == 0 ? (byte) random.nextInt() : (byte) (grain + 1);
    }
    return content;
  }

  private static ByteBuffer fields(byte[] bytes) {
    return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  private static VmdkDisk open(byte[] file) throws Exception {
    return VmdkDisk.openSparse(new CrashFile(file), Access.READ_ONLY);
  }

  /** How many of the grains, from the first on, are whole in the first bytes of a file. */
  private static int grainsWithin(byte[] file, int length) {
    ByteBuffer fields = fields(file);
    int grains = 0;
    int at = FIRST_GRAIN_AT;
    if (fields.getLong(56) == 21) {
      at = (22 + 4 + 128) * SECTOR;
    }
    while (at + 12 < file.length && fields.getInt(at + 8) != 0) {
      int end = at + 12 + fields.getInt(at + 8);
      boolean front = fields.getLong(56) == 21;
      if ((front ? end : Math.ceilDiv(end, SECTOR) * SECTOR) > length) {
        return grains;
      }
      grains = (int) (fields.getLong(at) / 128) + 1;
      at = Math.ceilDiv(end, SECTOR) * SECTOR;
    }
    return grains;
  }

  private static byte[] firstGrains(int count) {
    int bytes = Math.min(CONTENT.length, count * GRAIN);
    return Arrays.copyOf(Arrays.copyOf(CONTENT, bytes), CONTENT.length);
  }

  @ParameterizedTest
  @EnumSource
  void opensAWholeFileWithoutAWarning(Stream kind) throws Exception {
    try (VmdkDisk disk = open(TestDisks.stream(CONTENT, kind))) {
      assertThat(disk.warnings()).isEmpty();
      assertThat(TestDisks.contentOf(disk.link())).isEqualTo(CONTENT);
    }
  }

  @ParameterizedTest
  @EnumSource
  void readsWhatIsThereOfAFileThatIsCutOffAnywhere(Stream kind) throws Exception {
    byte[] whole = TestDisks.stream(CONTENT, kind);
    for (int length = whole.length - SECTOR; length >= FIRST_GRAIN_AT; length -= SECTOR) {
      byte[] cut = Arrays.copyOf(whole, length);
      int grains = grainsWithin(whole, length);
      if (grains == 0 && kind != Stream.FRONT) {
        assertThatThrownBy(() -> open(cut)).isInstanceOf(FormatException.class);
        continue;
      }
      try (VmdkDisk disk = open(cut)) {
        assertThat(TestDisks.contentOf(disk.link()))
            .as("%d", length)
            .isEqualTo(firstGrains(grains));
        if (grains < GRAINS) {
          assertThat(disk.warnings())
              .as("%d", length)
              .singleElement()
              .asString()
              .contains("cut off");
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void saysWhatIsMissing(Stream kind) throws Exception {
    byte[] whole = TestDisks.stream(CONTENT, kind);
    int length = whole.length;
    while (grainsWithin(whole, length) > 3) {
      length -= SECTOR;
    }

    try (VmdkDisk disk = open(Arrays.copyOf(whole, length))) {
      assertThat(disk.warnings()).hasSize(1);
      if (kind == Stream.FRONT) {
        assertThat(disk.warnings().getFirst())
            .isEqualTo(
                "crash.vmdk: cut off at byte %d; missing grains, which read as zeros: 4, "
                        .formatted(length)
                    + "the first at byte 196608 of the disk");
      } else {
        assertThat(disk.warnings().getFirst())
            .matches(
                "crash.vmdk: cut off or damaged at byte \\d+, where there is a grain, not all of"
                    + " it; grains found: 2; what the disk had from byte 196608 on is missing and"
                    + " reads as zeros");
      }
    }
  }

  @Test
  void knowsThatOnlyTheDirectoryIsMissing() throws Exception {
    byte[] whole = TestDisks.stream(CONTENT, Stream.FOOTER);

    try (VmdkDisk disk = open(Arrays.copyOf(whole, whole.length - 2 * SECTOR))) {
      assertThat(disk.warnings())
          .singleElement()
          .asString()
          .contains("the directory is damaged or cut off; all grains are there: 6");
      assertThat(TestDisks.contentOf(disk.link())).isEqualTo(CONTENT);
    }
  }

  @ParameterizedTest
  @CsvSource({"1, 0", "512, 0", "5120, 0", "700, 255"})
  void findsAFooterInFrontOfWhatWasAddedBehindIt(int added, int value) throws Exception {
    byte[] whole = TestDisks.stream(CONTENT, Stream.FOOTER);
    byte[] longer = Arrays.copyOf(whole, whole.length + added);
    Arrays.fill(longer, whole.length, longer.length, (byte) value);

    try (VmdkDisk disk = open(longer)) {
      assertThat(TestDisks.contentOf(disk.link())).isEqualTo(CONTENT);
      if (added >= SECTOR) {
        assertThat(disk.warnings()).singleElement().asString().contains("are ignored");
      }
    }
  }

  @ParameterizedTest
  @CsvSource({
    "0, 256, a grain at sector 256", // after it, its own address comes again
    "0, -1, a grain at sector 18446744073709551615",
    "0, 0, grain 0 again",
    "0, 130, a grain at sector 130",
    "8, 66626, a grain of 66626 bytes",
    "8, -1, a grain of 4294967295 bytes",
    "8, 0, a marker of type"
  })
  void stopsAtAMarkerThatMakesNoSense(int field, long value, String message) throws Exception {
    byte[] bytes = TestDisks.stream(CONTENT, Stream.FOOTER);
    bytes = Arrays.copyOf(bytes, bytes.length - 3 * SECTOR);
    int second =
        FIRST_GRAIN_AT + Math.ceilDiv(12 + fields(bytes).getInt(FIRST_GRAIN_AT + 8), 512) * 512;
    if (field == 0) {
      fields(bytes).putLong(second, value);
    } else {
      fields(bytes).putInt(second + 8, (int) value);
    }
    if (value == 256 && field == 0) {
      // That is where it was: nothing is wrong.
      try (VmdkDisk disk = open(bytes)) {
        assertThat(TestDisks.contentOf(disk.link())).isEqualTo(CONTENT);
      }
      return;
    }

    try (VmdkDisk disk = open(bytes)) {
      assertThat(disk.warnings()).singleElement().asString().contains(message, "at byte " + second);
      assertThat(TestDisks.contentOf(disk.link())).isEqualTo(firstGrains(1));
    }
  }

  @ParameterizedTest
  @CsvSource({"5, 0", "4, 1", "1, -1", "2, 9223372036854775807", "3, 4294967296", "-1, 1"})
  void comesToAnEndWhateverMarkersSay(int type, long sectors) throws Exception {
    byte[] bytes = TestDisks.stream(CONTENT, Stream.FOOTER);
    bytes = Arrays.copyOf(bytes, bytes.length - 3 * SECTOR);
    for (int at = FIRST_GRAIN_AT + 50 * SECTOR; at < bytes.length; at += SECTOR) {
      fields(bytes).putLong(at, sectors).putInt(at + 8, 0).putInt(at + 12, type);
    }
    int second =
        FIRST_GRAIN_AT + Math.ceilDiv(12 + fields(bytes).getInt(FIRST_GRAIN_AT + 8), 512) * 512;
    fields(bytes).putLong(second, sectors).putInt(second + 8, 0).putInt(second + 12, type);

    try (VmdkDisk disk = open(bytes)) {
      assertThat(disk.warnings()).hasSize(1);
      TestDisks.contentOf(disk.link());
    } catch (BlockException damage) {
      assertThat(damage).hasMessageContaining("at byte");
    }
  }
}
