package io.filterd.vmdk;

import static io.filterd.vmdk.SparseDisks.GRAIN;
import static io.filterd.vmdk.TestDisks.SECTOR;
import static io.filterd.vmdk.TestDisks.descriptor;
import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.US_ASCII;
import static org.assertj.core.api.Assertions.assertThat;

import com.sun.management.ThreadMXBean;
import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.vmdk.TestDisks.Stream;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Twenty-seven thousand damaged files of every kind that is read: each gives content or an error
 * with a sentence, in little memory, and soon. The seed is in the message of a failure.
 */
@Timeout(120)
class HostileImagesTest {
  private static final long SEED = Long.getLong("test.seed", new SecureRandom().nextInt());
  private static final int IMAGES_PER_KIND = 3000;
  private static final int ALLOCATED_LIMIT_BYTES = 64 << 20;
  private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();

  private static final ByteBuffer PIECE = ByteBuffer.allocateDirect(1 << 18);

  /** What fields are set to, if it is not a flipped bit. */
  private static final long[] ODD_VALUES = {
    0,
    1,
    2,
    7,
    20,
    127,
    512,
    0xffff,
    1L << 31,
    0xffff_ffffL,
    1L << 32,
    1L << 52,
    Long.MAX_VALUE,
    Long.MIN_VALUE,
    -1
  };

  @TempDir Path folder;

  /** A kind of file, and where its header and its tables are. */
  @SuppressWarnings("ImmutableEnumChecker") // nobody changes them
  enum Kind {
    SPARSE(SparseDisks.of(1, 1, small()), 0, 1300, 1536, 4, 2048, 64),
    ZERO_GRAINS(SparseDisks.of(2, 5, small()), 0, 80, 1536, 4, 2048, 64),
    CHANGE_TRACKED(SparseDisks.of(3, 1, small()), 0, 80, 1536, 4, 2048, 64),
    STREAM_FOOTER(TestDisks.stream(stream(), Stream.FOOTER), 0, 80, 65_536, 16, -5120, 5120),
    STREAM_BOTH(TestDisks.stream(stream(), Stream.HEADER_AND_FOOTER), 0, 80, -5120, 5120),
    STREAM_FRONT(TestDisks.stream(stream(), Stream.FRONT), 0, 80, 10_752, 4, 11_264, 16),
    COWD(cowd(), 0, 32, 2048, 4, 2560, 60) {
      @Override
      BlockDevice open(byte[] bytes) throws IOException, BlockException {
        long sectors = bytes.length < 16 ? 1 : Integer.toUnsignedLong(fields(bytes).getInt(12));
        return CowdTables.open(new CrashFile(bytes), sectors, new ArrayList<>());
      }
    },
    SESPARSE(seSparse(), 0, 208, 512, 48, 8192, 16, 12_288, 80, 45_056, 80) {
      @Override
      BlockDevice open(byte[] bytes) throws IOException, BlockException {
        long sectors = bytes.length < 24 ? 1 : fields(bytes).getLong(16);
        return SeSparseTables.open(new CrashFile(bytes), sectors);
      }
    };

    final byte[] whole;

    /** Starts and lengths, in turn; a negative start counts from the end. */
    private final int[] places;

    Kind(byte[] whole, int... places) {
      this.whole = whole;
      this.places = places;
    }

    BlockDevice open(byte[] bytes) throws IOException, BlockException {
      return VmdkDisk.openSparse(new CrashFile(bytes), Access.READ_ONLY).link();
    }

    int place(SplittableRandom random) {
      int part = random.nextInt(places.length / 2) * 2;
      int start = places[part] < 0 ? whole.length + places[part] : places[part];
      return start + random.nextInt(places[part + 1]);
    }
  }

  private static byte[] small() {
    byte[] content = new byte[9 * GRAIN + SECTOR];
    System.arraycopy(EsxDisks.noise(3 * GRAIN, 1), 0, content, GRAIN, 3 * GRAIN);
    return content;
  }

  private static byte[] stream() {
    byte[] content = new byte[3 * TestDisks.GRAIN - SECTOR];
    Arrays.fill(content, 0, TestDisks.GRAIN, (byte) 1);
    content[content.length - 1] = 1;
    return content;
  }

  private static byte[] cowd() {
    Map<Integer, byte[]> grains = new TreeMap<>();
    for (int grain : new int[] {0, 1, 5, 14}) {
      grains.put(grain, EsxDisks.noise(SECTOR, grain));
    }
    return EsxDisks.cowd(4096 + 5, 1, grains);
  }

  private static byte[] seSparse() {
    Map<Integer, byte[]> grains = new TreeMap<>();
    for (int grain : new int[] {0, 5, 4096}) {
      grains.put(grain, EsxDisks.noise(EsxDisks.SE_GRAIN, grain));
    }
    return EsxDisks.seSparse(4100 * 8, grains, Map.of(2, EsxDisks.SE_ZERO), 0);
  }

  private static ByteBuffer fields(byte[] bytes) {
    return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  /** Reads the start, the end, and some places between. True if nothing was found wrong. */
  private static boolean use(BlockDevice link, SplittableRandom random) {
    long size = link.info().sizeBytes();
    int unit = link.info().blockSizes().minimum();
    ByteBuffer piece = PIECE;
    boolean fine = true;
    for (int i = 0; i < 10; i++) {
      long rest = i == 1 ? Math.min(size, 4L * unit) : 0;
      long at = i == 0 ? 0 : i == 1 ? size - rest : random.nextLong(size / unit) * unit;
      piece.clear().limit((int) Math.min(i < 2 ? piece.capacity() : 4L * unit, size - at));
      try {
        link.read(at, piece, Blocking.ALLOWED);
      } catch (BlockException found) {
        fine = false;
        assertThat(piece.position()).isZero();
        assertThat(found.getMessage()).startsWith("crash.vmdk: ");
      }
      if (i > 2) {
        continue; // An answer about extents looks at so many grains that it takes a while.
      }
      try {
        link.extents(at, size - at, Blocking.ALLOWED);
      } catch (BlockException found) {
        fine = false;
        assertThat(found.getMessage()).startsWith("crash.vmdk: ");
      }
    }
    return fine;
  }

  private static boolean use(Kind kind, byte[] bytes, SplittableRandom random, String damage) {
    long before = THREADS.getCurrentThreadAllocatedBytes();
    boolean fine = false;
    try (BlockDevice link = kind.open(bytes)) {
      fine = use(link, random);
    } catch (FormatException refused) {
      assertThat(refused.getMessage()).startsWith("crash.vmdk: at byte ").contains("expected: ");
    } catch (IOException | BlockException failure) {
      assertThat(failure.getMessage()).isNotEmpty();
    }
    assertThat(THREADS.getCurrentThreadAllocatedBytes() - before)
        .as("%s, seed %d, %s: allocated", kind, SEED, damage)
        .isLessThan(ALLOCATED_LIMIT_BYTES);
    return fine;
  }

  @ParameterizedTest
  @EnumSource
  void survivesDamagedHeadersAndTables(Kind kind) {
    SplittableRandom random = new SplittableRandom(SEED);
    assertThat(use(kind, kind.whole, random, "whole")).isTrue();
    int refused = 0;
    for (int i = 0; i < IMAGES_PER_KIND; i++) {
      byte[] bytes = kind.whole.clone();
      for (int n = 1 + random.nextInt(3); n > 0; n--) {
        int at = kind.place(random);
        if (random.nextBoolean()) {
          bytes[at] = (byte) (bytes[at] ^ 1 << random.nextInt(8));
        } else if (random.nextBoolean()) {
          fields(bytes).putInt(at & ~3, (int) odd(random));
        } else if ((at & ~3) + 8 <= bytes.length) {
          fields(bytes).putLong(at & ~3, odd(random));
        }
      }
      refused += use(kind, bytes, random, "image " + i) ? 0 : 1;
    }
    assertThat(refused).as("refused").isGreaterThan(IMAGES_PER_KIND / 10);
  }

  private static long odd(SplittableRandom random) {
    return random.nextInt(4) == 0
        ? random.nextLong()
        : ODD_VALUES[random.nextInt(ODD_VALUES.length)] + random.nextInt(3) - 1;
  }

  @ParameterizedTest
  @EnumSource
  void survivesFilesThatAreCutShortAnywhere(Kind kind) {
    SplittableRandom random = new SplittableRandom(SEED);
    for (int length = 0; length < kind.whole.length; length += SECTOR) {
      use(kind, Arrays.copyOf(kind.whole, length), random, length + " bytes");
      use(kind, Arrays.copyOf(kind.whole, Math.max(0, length - 1)), random, length - 1 + " bytes");
    }
  }

  @Test
  void survivesDescriptorsThatAreDamaged() throws IOException {
    Files.write(folder.resolve("f.vmdk"), new byte[8 * SECTOR]);
    Files.write(folder.resolve("s.vmdk"), SparseDisks.of(1, 1, small()));
    Files.write(folder.resolve("c.vmdk"), cowd());
    Files.write(folder.resolve("e.vmdk"), seSparse());
    Files.createSymbolicLink(folder.resolve("l.vmdk"), Path.of("/dev/zero"));
    byte[] whole =
        descriptor(
                "vmfsSparse",
                "RW 8 FLAT \"f.vmdk\" 0",
                "RW 73 SPARSE \"s.vmdk\"",
                "RW 8 ZERO",
                "RW 4101 VMFSSPARSE \"c.vmdk\"",
                "RW 32800 SESPARSE \"e.vmdk\"")
            .getBytes(US_ASCII);
    String[] words = {
      "\n",
      "\r",
      "\0",
      "\"",
      "..",
      "/",
      "0",
      "-1",
      "9223372036854775807",
      "4294967296",
      "NOACCESS",
      "ZERO",
      "l.vmdk",
      "d.vmdk",
      "/dev/zero",
      "VMFS",
      "\u00ff\u00fe",
      "RW 1 ZERO\n",
      "=",
      "#"
    };
    Path file = Files.write(folder.resolve("d.vmdk"), whole);
    SplittableRandom random = new SplittableRandom(SEED);
    for (int i = 0; i < IMAGES_PER_KIND; i++) {
      String text = new String(whole, ISO_8859_1);
      for (int n = i == 0 ? 0 : 1 + random.nextInt(3); n > 0; n--) {
        int from = random.nextInt(text.length());
        int to = Math.min(text.length(), from + random.nextInt(10));
        String word = words[random.nextInt(words.length)];
        text = text.substring(0, from) + word + text.substring(random.nextBoolean() ? from : to);
      }
      Files.write(file, text.getBytes(ISO_8859_1));
      long before = THREADS.getCurrentThreadAllocatedBytes();
      try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_ONLY)) {
        ByteBuffer piece = ByteBuffer.allocateDirect(SECTOR);
        BlockDevice link = disk.link();
        for (long at = 0;
            at < link.info().sizeBytes();
            at += link.info().sizeBytes() / 8 + SECTOR) {
          link.read(at / SECTOR * SECTOR, piece.clear(), Blocking.ALLOWED);
        }
      } catch (IOException | BlockException refused) {
        assertThat(i).as("seed %d: %s", SEED, refused.getMessage()).isPositive();
        assertThat(refused.getMessage()).contains(folder.toString());
      }
      assertThat(THREADS.getCurrentThreadAllocatedBytes() - before)
          .as("seed %d, image %d: allocated", SEED, i)
          .isLessThan(ALLOCATED_LIMIT_BYTES);
    }
  }
}
