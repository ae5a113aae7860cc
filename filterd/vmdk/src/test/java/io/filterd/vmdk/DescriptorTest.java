package io.filterd.vmdk;

import static java.nio.charset.StandardCharsets.UTF_16;
import static java.nio.charset.StandardCharsets.UTF_16BE;
import static java.nio.charset.StandardCharsets.UTF_16LE;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import java.nio.charset.Charset;
import java.util.List;
import java.util.Optional;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class DescriptorTest {
  private static final String TEXT =
      TestDisks.descriptor("monolithicSparse", "RW 2048 SPARSE \"disk.vmdk\"");

  private static Descriptor parse(String text) throws FormatException {
    return Descriptor.parse("d.vmdk", 512, text.getBytes(UTF_8));
  }

  private static String text(Descriptor descriptor) {
    return new String(descriptor.format(), UTF_8);
  }

  @Test
  void readsItsFields() throws FormatException {
    Descriptor descriptor = parse(TEXT);

    assertThat(descriptor.version()).isEqualTo(1);
    assertThat(descriptor.cid()).isEqualTo(0x1234abcd);
    assertThat(descriptor.parentCid()).isEqualTo(Descriptor.NO_PARENT);
    assertThat(descriptor.createType()).isEqualTo("monolithicSparse");
    assertThat(descriptor.sizeBytes()).isEqualTo(1 << 20);
    assertThat(descriptor.ddb("adapterType")).hasValue("lsilogic");
    assertThat(descriptor.ddb("none")).isEmpty();
    ExtentLine extent = descriptor.extents().getFirst();
    assertThat(extent.access()).isEqualTo(ExtentLine.Access.RW);
    assertThat(extent.type()).isEqualTo(ExtentLine.Type.SPARSE);
    assertThat(extent.fileName()).hasValue("disk.vmdk");
    assertThat(extent.byteOffset()).isEqualTo(512 + TEXT.indexOf("RW 2048"));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "monolithicFlat.vmdk",
        "twoGbMaxExtentFlat.vmdk",
        "twoGbMaxExtentSparse.vmdk",
        "vmfs_thick.vmdk",
        "vmfs_thick-000001.vmdk"
      })
  void keepsEveryByteOfASample(String name) throws Exception {
    byte[] bytes = TestDisks.sample(name);

    assertThat(Descriptor.parse(name, 0, bytes).format()).isEqualTo(bytes);
  }

  @Test
  void keepsWhatItDoesNotKnow() throws FormatException {
    String odd =
        "version=1 \r\n\r\n\tCID = 1\r\nparentCID=ffffffff\ncreateType=\"x\"\nnobody knows this\n"
            + "RW 1 ZERO\n future = \"a=b\" \nchangeTrackPath=\"a-ctk.vmdk\"\nddb.x=1\n # end";
    Descriptor descriptor = parse(odd);

    assertThat(text(descriptor)).isEqualTo(odd);
    Descriptor changed = descriptor.withDdb("x", "2").withDdb("y", "3").withCid(0xabc);
    assertThat(text(changed))
        .isEqualTo(
            odd.replace("\tCID = 1\r", "CID=00000abc\r").replace("ddb.x=1", "ddb.x = \"2\"")
                + "\nddb.y = \"3\"\n");
    assertThat(text(changed.withoutDdb("y").withoutDdb("X"))).doesNotContain("ddb.");
    assertThat(descriptor.header("Future")).hasValue("a=b");
  }

  @Test
  void endsAtTheFirstNul() throws FormatException {
    assertThat(text(parse(TEXT + "\0\0garbage\0"))).isEqualTo(TEXT);
  }

  @Test
  void takesFileNamesWithQuotesAndBlanks() throws FormatException {
    String name = "this is an \"example\" '\\ ü.vmdk";
    Descriptor descriptor = parse(TEXT.replace("disk.vmdk", name));

    assertThat(descriptor.extents().getFirst().fileName()).hasValue(name);
  }

  @ParameterizedTest
  @CsvSource({"GBK, 磁盘", "Big5, 磁碟", "Shift_JIS, ディスク表", "windows-1252, Größe", "UTF-8, диск"})
  void readsTheEncodingsOfVmware(String encoding, String name) throws FormatException {
    String text =
        TEXT.replace("disk.vmdk", name)
            .replace("version=1", "version=1\nencoding=\"" + encoding + "\"");
    String charset = encoding.equals("Shift_JIS") ? "windows-31j" : encoding;
    byte[] bytes = text.getBytes(Charset.forName(charset));

    Descriptor descriptor = Descriptor.parse("d.vmdk", 0, bytes);

    assertThat(descriptor.extents().getFirst().fileName()).hasValue(name);
    Descriptor commented = descriptor.withDdb("comment", name);
    assertThat(Descriptor.parse("d.vmdk", 0, commented.format()).ddb("comment")).hasValue(name);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "version=1| version=x| version",
        "version=1| version=0| version",
        "version=1| #| version",
        "CID=1234abcd| CID=xyz| cid",
        "CID=1234abcd| CID=123456789| cid",
        "CID=1234abcd| CID=| cid",
        "CID=1234abcd| #| cid",
        "parentCID=ffffffff| CID=1| cid",
        "parentCID=ffffffff| parentCID=-1| parentcid",
        "createType=\"monolithicSparse\"| #| createtype",
        "createType=\"monolithicSparse\"| createType=\"monolithicSparse| createtype",
        "createType=\"monolithicSparse\"| createType=\"| createtype",
        "version=1| version=1~encoding=\"UTF-16\"| encoding",
        "version=1| version=1~encoding=\"klingon\"| encoding",
        "RW 2048| # | extents",
        "RW 2048| RW 0| extent sectors",
        "RW 2048| RW -1| extent sectors",
        "RW 2048| RW 9223372036854775807| extent sectors",
        "RW 2048| RW 4503599627370496| extent sectors",
        "RW 2048| RW 4503599627370495 ZERO~RW 1| extents",
        "RW 2048| RW many| extent sectors",
        "RW 2048| RW| extent",
        "SPARSE| NOSUCH| extent type",
        "SPARSE| ZERO| extent",
        "SPARSE| FLAT| extent offset",
        "\"disk.vmdk\"| disk.vmdk| extent",
        "\"disk.vmdk\"| \"disk.vmdk| extent",
        "\"disk.vmdk\"| \"disk.vmdk\" 5| extent offset",
        "\"disk.vmdk\"| \"disk.vmdk\" x| extent offset",
        "SPARSE \"disk.vmdk\"| FLAT \"disk.vmdk\" 4503599627370496| extent offset",
        "CID=1234abcd| CID=1234abcd~cid=1| cid",
        "version=1| version=1~version=1| version",
        "ddb.adapterType| createType=\"vmfs\"~ddb.x| createtype",
        "ddb.adapterType| parentFileNameHint=\"a\"~PARENTFILENAMEHINT=\"b\"~ddb.x|"
            + " parentfilenamehint",
        "SPARSE \"disk.vmdk\"| VMFS \"disk.vmdk\" 8| extent offset",
        "ddb.adapterType| ddb.filterd.x=1~ddb.filterd.X| ddb.filterd.x",
      })
  void refusesALineThatIsWrong(String line, String replacement, String field) {
    String wrong = TEXT.replace(line, replacement.replace('~', '\n'));

    FormatException failure = catchThrowableOfType(FormatException.class, () -> parse(wrong));

    assertThat(failure).as(wrong).isNotNull();
    assertThat(failure.field()).isEqualTo(field);
    assertThat(failure.byteOffset()).isBetween(512L, 512L + wrong.length());
  }

  @Test
  void refusesTextThatOthersWouldReadInAnotherWay() throws FormatException {
    // Two descriptors one after the other: which one counts?
    assertThatThrownBy(() -> parse(TEXT + TEXT)).hasMessageContaining("stands twice");
    // Behind a NUL nobody reads.
    assertThat(parse(TEXT + "\0" + TEXT.replace("1234abcd", "1")).cid()).isEqualTo(0x1234abcd);
    assertThatThrownBy(() -> parse("\0" + TEXT)).isInstanceOf(FormatException.class);
    assertThatThrownBy(() -> parse(TEXT.replace('\n', '\r'))).isInstanceOf(FormatException.class);
    assertThat(parse(TEXT.stripTrailing()).ddb("adapterType")).hasValue("lsilogic");
    for (Charset wide : List.of(UTF_16, UTF_16LE, UTF_16BE)) {
      assertThatThrownBy(() -> Descriptor.parse("d.vmdk", 0, TEXT.getBytes(wide)))
          .isInstanceOf(FormatException.class);
    }
  }

  @Test
  void boundsItsSize() {
    String longLine = TEXT + "x=" + "y".repeat(70_000);
    String manyLines = TEXT + "\n".repeat(20_000);
    String manyExtents = TEXT.replace("# The Disk", "RW 1 ZERO\n".repeat(5000) + "#");
    for (String text : List.of(longLine, manyLines, manyExtents, "a".repeat(1 << 21), "")) {
      assertThatThrownBy(() -> parse(text)).isInstanceOf(FormatException.class);
    }
  }

  @Test
  void shortensAndCleansWhatItQuotes() {
    String text = TEXT.replace("CID=1234abcd", "CID=\u001b[31m" + "z".repeat(1000));

    FormatException failure = catchThrowableOfType(FormatException.class, () -> parse(text));

    assertThat(failure.getMessage()).hasSizeLessThan(250).doesNotContain("\u001b");
  }

  @ParameterizedTest
  @ValueSource(strings = {"a\nb", "a\"b", "a\0b"})
  void refusesToWriteWhatWouldBreakItsLine(String value) throws FormatException {
    Descriptor descriptor = parse(TEXT);

    assertThatThrownBy(() -> descriptor.withDdb("x", value))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> descriptor.withDdb("x" + value, "y"))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void takesAnyBytesForADescriptorOrAnError() throws FormatException {
    long seed = Long.getLong("test.seed", System.nanoTime());
    SplittableRandom random = new SplittableRandom(seed);
    byte[] full = EncryptionMetadataTest.METADATA.writeTo(parse(TEXT)).format();
    for (int i = 0; i < 20_000; i++) {
      byte[] bytes = full.clone();
      for (int n = 1 + random.nextInt(4); n > 0; n--) {
        int at = random.nextInt(bytes.length);
        bytes[at] =
            random.nextBoolean()
                ? (byte) (bytes[at] ^ 1 << random.nextInt(8))
                : (byte) "\n\r\0\" =#,%0".charAt(random.nextInt(10));
      }
      try {
        Descriptor descriptor = Descriptor.parse("d.vmdk", 0, bytes);
        Optional<EncryptionMetadata> metadata = EncryptionMetadata.from(descriptor);
        assertThat(metadata).isNotNull();
      } catch (FormatException e) {
        assertThat(e.getMessage()).as("seed %d", seed).startsWith("d.vmdk: at byte ");
      }
    }
  }
}
