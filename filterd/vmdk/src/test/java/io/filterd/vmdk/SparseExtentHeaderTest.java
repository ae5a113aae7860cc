package io.filterd.vmdk;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SparseExtentHeaderTest {
  private static final long FILE_BYTES = 1 << 20;

  private static ByteBuffer valid() {
    ByteBuffer bytes = ByteBuffer.allocate(512).order(ByteOrder.LITTLE_ENDIAN);
    new SparseLayout(100_000).header().writeTo(bytes);
    return bytes.flip();
  }

  private static SparseExtentHeader parse(ByteBuffer bytes) throws FormatException {
    SparseExtentHeader header = SparseExtentHeader.parse("a.vmdk", 0, bytes);
    header.checkFits("a.vmdk", 0, FILE_BYTES);
    return header;
  }

  @Test
  void readsWhatItWrote() throws FormatException {
    SparseExtentHeader header = new SparseLayout(100_000).header();

    assertThat(parse(valid())).isEqualTo(header);
    SparseExtentHeader other =
        new SparseExtentHeader(3, 0x30001, 77, 2048, 1, 1, 0, -1, 9, true, 1);
    ByteBuffer bytes = ByteBuffer.allocate(512);
    other.writeTo(bytes);
    assertThat(SparseExtentHeader.parse("a.vmdk", 0, bytes.flip())).isEqualTo(other);
  }

  @Test
  void laysOutAsVmwareDoes() {
    // A disk of 1 TiB: 32768 tables of 4 sectors, twice, and directories of 256 sectors.
    SparseLayout layout = new SparseLayout((1L << 40) / 512);

    assertThat(layout.redundantTable(0)).isEqualTo(41 + 256);
    assertThat(layout.directory()).isEqualTo(41 + 256 + 131_072);
    assertThat(layout.overheadSectors()).isEqualTo((41 + 2 * (256 + 131_072) + 127) / 128 * 128);
    SparseLayout largest = new SparseLayout(SparseLayout.LARGEST_DISK_BYTES / 512);
    assertThat(largest.overheadSectors() + largest.capacitySectors()).isLessThanOrEqualTo(1L << 32);
  }

  @ParameterizedTest
  @CsvSource({
    "0, 4, 0x44574f43, magic",
    "4, 4, 0, version",
    "4, 4, 4, version",
    "4, 4, -1, version",
    "8, 4, 0x40003, flags",
    "8, 4, 0x80000003, flags",
    "8, 4, 0x20003, flags",
    "8, 4, 0x10003, flags",
    "8, 4, 0x30003, compressAlgorithm",
    "12, 8, 0, capacity",
    "12, 8, -1, capacity",
    "12, 8, 0x8000000000000000, capacity",
    "12, 8, 0x0010000000000000, capacity", // 2 EiB
    "12, 8, 0x000fffffffffffff, capacity",
    "12, 8, 0x1f00000000000000, capacity",
    "12, 8, 2233785398448881665, capacity", // found by AFL in qemu
    "20, 8, 0, grainSize",
    "20, 8, 4, grainSize",
    "20, 8, 7, grainSize",
    "20, 8, 4096, grainSize",
    "20, 8, 0x8000000000000000, grainSize",
    "20, 8, -1, grainSize",
    "28, 8, -1, descriptorOffset",
    "28, 8, 251658241, descriptorOffset + descriptorSize",
    "36, 8, 0, descriptorSize",
    "36, 8, -1, descriptorSize",
    "36, 8, 2049, descriptorSize",
    "36, 8, 2048, descriptorOffset + descriptorSize",
    "44, 4, 0, numGTEsPerGT",
    "44, 4, 1, numGTEsPerGT",
    "44, 4, 506, numGTEsPerGT",
    "44, 4, -1, numGTEsPerGT",
    "48, 8, 0, rgdOffset",
    "48, 8, -1, rgdOffset",
    "48, 8, 4000, rgdOffset",
    "56, 8, 0, gdOffset",
    "56, 8, -1, gdOffset",
    "56, 8, 0x7fffffffffffffff, gdOffset",
    "56, 8, 2048, gdOffset",
    "64, 8, 0, overHead",
    "64, 8, -1, overHead",
    "64, 8, 2049, overHead",
    "73, 4, 0x0a0d0d0a, newlines",
    "77, 2, 1, compressAlgorithm",
    "77, 2, 2, compressAlgorithm"
  })
  void refusesAFieldThatIsWrong(int at, int length, String value, String field) {
    ByteBuffer bytes = valid();
    long number =
        value.startsWith("0x")
            ? Long.parseUnsignedLong(value.substring(2), 16)
            : Long.parseLong(value);
    switch (length) {
      case 2 -> bytes.putShort(at, (short) number);
      case 4 -> bytes.putInt(at, (int) number);
      default -> bytes.putLong(at, number);
    }

    FormatException failure = catchThrowableOfType(FormatException.class, () -> parse(bytes));

    assertThat(failure).isNotNull();
    assertThat(failure.field()).isEqualTo(field);
    assertThat(failure.file()).isEqualTo("a.vmdk");
    assertThat(failure.byteOffset()).isBetween(0L, 79L);
    assertThat(failure.expected()).isNotEmpty();
  }

  @Test
  void refusesAHeaderThatIsCutShort() {
    for (int length = 0; length < 79; length++) {
      ByteBuffer bytes = valid().limit(length);
      assertThatThrownBy(() -> parse(bytes)).isInstanceOf(FormatException.class);
    }
  }

  @Test
  void takesAnyFlippedBitForAValueOrAnError() {
    int refused = 0;
    for (int bit = 0; bit < 512 * 8; bit++) {
      ByteBuffer bytes = valid();
      bytes.put(bit / 8, (byte) (bytes.get(bit / 8) ^ 1 << bit % 8));
      FormatException failure = catchThrowableOfType(FormatException.class, () -> parse(bytes));
      refused += failure == null ? 0 : 1;
    }
    assertThat(refused).isGreaterThan(400);
  }

  @Test
  void saysWhereInTheFileAFooterIsWrong() {
    ByteBuffer bytes = valid().putInt(4, 9);

    assertThatThrownBy(() -> SparseExtentHeader.parse("b.vmdk", 65_536, bytes))
        .hasMessage("b.vmdk: at byte 65540: version: 9 (expected: 1..3)");
  }
}
