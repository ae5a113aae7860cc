package io.filterd.vmdk;

import static io.filterd.vmdk.TestDisks.GRAIN;
import static io.filterd.vmdk.TestDisks.descriptor;
import static java.nio.charset.StandardCharsets.US_ASCII;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockDeviceContract;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.TreeMap;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.io.TempDir;

/** The kinds that are read only, held to the contract of devices. */
class ReadOnlyDeviceTest {
  private static final int SIZE_BYTES = 6 * GRAIN + 3 * 512;

  @TempDir Path folder;

  abstract class Kind extends BlockDeviceContract {
    abstract void make(Path file, byte[] content) throws Exception;

    @Override
    protected BlockDevice create(long sizeBytes, UnaryOperator<BlockDevice> below)
        throws Exception {
      Path file = Files.createTempDirectory(folder, "disk").resolve("disk.vmdk");
      make(file, initialContents());
      return below.apply(VmdkDisk.open(file, Access.READ_ONLY).link());
    }

    @Override
    protected int sizeBytes() {
      return SIZE_BYTES;
    }

    @Override
    protected byte[] initialContents() {
      byte[] content = TestDisks.content(SIZE_BYTES, new SplittableRandom(5));
      content[2 * GRAIN] = 1;
      return content;
    }

    @Override
    protected boolean startsUnwritten() {
      return false;
    }

    @Override
    protected long largeSizeBytes() {
      return 0;
    }

    @Override
    protected int modelSteps() {
      return 300;
    }
  }

  @Nested
  class Sparse extends Kind {
    @Override
    void make(Path file, byte[] content) throws Exception {
      TestDisks.sparse(file, content);
    }
  }

  @Nested
  class Stream extends Kind {
    @Override
    void make(Path file, byte[] content) throws Exception {
      Files.write(file, TestDisks.stream(content, TestDisks.Stream.FOOTER));
    }
  }

  @Nested
  class Split extends Kind {
    @Override
    void make(Path file, byte[] content) throws Exception {
      int first = 2 * GRAIN + 512;
      Files.write(file.resolveSibling("f1.vmdk"), Arrays.copyOf(content, first));
      TestDisks.sparse(
          file.resolveSibling("s2.vmdk"), Arrays.copyOfRange(content, first, content.length));
      String text =
          descriptor(
              "twoGbMaxExtentFlat",
              "RW " + first / 512 + " FLAT \"f1.vmdk\" 0",
              "RW " + (content.length - first) / 512 + " SPARSE \"s2.vmdk\"");
      Files.write(file, text.getBytes(US_ASCII));
    }

    @Override
    protected List<Integer> internalBoundaries() {
      return List.of(2 * GRAIN + 512);
    }
  }

  /** The pieces of {@code content} that are not zeros, by their number; the last one padded. */
  private static Map<Integer, byte[]> grains(byte[] content, int grainBytes) {
    Map<Integer, byte[]> grains = new TreeMap<>();
    for (int at = 0; at < content.length; at += grainBytes) {
      byte[] grain = Arrays.copyOfRange(content, at, at + grainBytes);
      if (!Zeros.isAll(ByteBuffer.wrap(grain))) {
        grains.put(at / grainBytes, grain);
      }
    }
    return grains;
  }

  private static void makeText(Path file, byte[] content, String type, byte[] extent)
      throws IOException {
    Files.write(file.resolveSibling("x.vmdk"), extent);
    String line = "RW " + content.length / 512 + " " + type + " \"x.vmdk\"";
    Files.write(file, descriptor("vmfsSparse", line).getBytes(US_ASCII));
  }

  @Nested
  class Cowd extends Kind {
    @Override
    void make(Path file, byte[] content) throws Exception {
      byte[] extent = EsxDisks.cowd(content.length / 512, 1, grains(content, 512));
      makeText(file, content, "VMFSSPARSE", extent);
    }
  }

  @Nested
  class SeSparse extends Kind {
    @Override
    void make(Path file, byte[] content) throws Exception {
      Map<Integer, byte[]> grains = grains(content, EsxDisks.SE_GRAIN);
      byte[] extent = EsxDisks.seSparse(content.length / 512, grains, Map.of(), 0);
      makeText(file, content, "SESPARSE", extent);
    }
  }

  @Nested
  class StreamWithoutItsEnd extends Kind {
    @Override
    void make(Path file, byte[] content) throws Exception {
      byte[] whole = TestDisks.stream(content, TestDisks.Stream.FOOTER);
      Files.write(file, Arrays.copyOf(whole, whole.length - 3 * 512));
    }
  }
}
