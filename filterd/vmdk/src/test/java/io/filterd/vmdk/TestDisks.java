package io.filterd.vmdk;

import static java.nio.charset.StandardCharsets.US_ASCII;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Durability;
import io.filterd.block.file.BlockFile;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.zip.Deflater;
import java.util.zip.GZIPInputStream;

/** Disks for tests: samples, and such as only others make. */
final class TestDisks {
  static final int SECTOR = 512;
  static final int GRAIN = 1 << 16;

  private TestDisks() {}

  /** The bytes of a sample, unpacked. */
  static byte[] sample(String name) throws IOException {
    String resource = "/samples/" + name;
    try (InputStream plain = TestDisks.class.getResourceAsStream(resource);
        InputStream packed = TestDisks.class.getResourceAsStream(resource + ".gz")) {
      if (plain != null) {
        return plain.readAllBytes();
      }
      if (packed == null) {
        throw new IOException("no sample " + name);
      }
      return new GZIPInputStream(packed).readAllBytes();
    }
  }

  /** Some grains of noise, some of text, some of zeros. */
  static byte[] content(int bytes, SplittableRandom random) {
    byte[] content = new byte[bytes];
    for (int at = 0; at < bytes; at += GRAIN) {
      int end = Math.min(bytes, at + GRAIN);
      switch (random.nextInt(3)) {
        case 0 -> {}
        case 1 -> {
          for (int i = at; i < end; i++) {
            content[i] = (byte) ('a' + i / 100 % 26);
          }
        }
        default -> {
          for (int i = at; i < end; i++) {
            content[i] = (byte) random.nextInt();
          }
        }
      }
    }
    return content;
  }

  static ByteBuffer direct(byte[] bytes) {
    return ByteBuffer.allocateDirect(bytes.length).put(bytes).flip();
  }

  static byte[] contentOf(BlockDevice device) throws BlockException {
    byte[] content = new byte[(int) device.info().sizeBytes()];
    ByteBuffer piece = ByteBuffer.allocateDirect(1 << 20);
    for (int at = 0; at < content.length; at += piece.capacity()) {
      piece.clear().limit(Math.min(piece.capacity(), content.length - at));
      device.read(at, piece, Blocking.ALLOWED);
      piece.flip().get(content, at, piece.limit());
    }
    return content;
  }

  /** A disk of ours with this content. */
  static void sparse(Path file, byte[] content) throws IOException, BlockException {
    VmdkDisk.create(file, CreateOptions.ofSize(content.length));
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_WRITE)) {
      disk.link().write(0, direct(content), Durability.BUFFERED, Blocking.ALLOWED);
    }
  }

  /** An empty sparse extent. */
  static void sparseExtent(Path file, long sizeBytes) throws IOException, BlockException {
    try (ExtentFile extent = new StoredExtent(BlockFile.create(file))) {
      NewDisk.writeExtent(extent, sizeBytes);
    }
  }

  /** A flat extent that is one hole. */
  static void flatExtent(Path file, long sizeBytes) throws IOException, BlockException {
    try (BlockFile extent = BlockFile.create(file)) {
      extent.truncate(sizeBytes);
    }
  }

  /** Gives the header of a sparse file version 2, and the flag that zeros are marked. */
  static void markZeros(Path file) throws IOException {
    byte[] bytes = Files.readAllBytes(file);
    bytes[4] = 2;
    bytes[8] |= SparseExtentHeader.FLAG_ZERO_GRAINS;
    Files.write(file, bytes);
  }

  static String descriptor(String createType, String... extentLines) {
    return """
    # Disk DescriptorFile
    version=1
    CID=1234abcd
    parentCID=ffffffff
    createType="%s"

    # Extent description
    %s

    # The Disk Data Base
    #DDB
    ddb.adapterType = "lsilogic"
    """
        .formatted(createType, String.join("\n", extentLines));
  }

  /** Where a stream-optimized file keeps its grain directory. */
  enum Stream {
    /** As VMware exports: directory and footer at the end, tables behind their grains. */
    FOOTER,
    /** As the footer, with the directory's place in the header as well. */
    HEADER_AND_FOOTER,
    /** As qemu: directory and tables in front, no metadata markers. */
    FRONT
  }

  /** A stream-optimized file. Grains of zeros, and tables of such grains, are left out. */
  static byte[] stream(byte[] content, Stream kind) {
    int sectors = content.length / SECTOR;
    int tables = Math.ceilDiv(sectors, 128 * 512);
    int[] directory = new int[tables];
    Sectors out = new Sectors();
    out.skipTo(128);
    if (kind == Stream.FRONT) {
      for (int i = 0; i < tables; i++) {
        directory[i] = 22 + i * 4;
      }
      out.skipTo(22 + tables * 4 + 128);
    }
    int[][] entries = new int[tables][512];
    for (int table = 0; table < tables; table++) {
      boolean any = false;
      for (int i = 0; i < 512; i++) {
        int at = (table * 512 + i) * GRAIN;
        if (at < content.length && !isZero(content, at)) {
          entries[table][i] = out.sector();
          out.grain(at / SECTOR, Arrays.copyOfRange(content, at, at + GRAIN));
          any = true;
        }
      }
      if (any && kind != Stream.FRONT) {
        out.marker(4, 1);
        directory[table] = out.sector();
        out.ints(entries[table]);
      }
    }
    int directorySector = 21;
    if (kind != Stream.FRONT) {
      out.marker(1, 2);
      directorySector = out.sector();
      out.ints(Arrays.copyOf(directory, 128));
      out.marker(1, 3);
      out.bytes(header(sectors, directorySector));
      out.marker(0, 0);
    }
    byte[] file = out.bytes();
    ByteBuffer fields = ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN);
    fields.put(header(sectors, kind == Stream.FOOTER ? -1 : directorySector));
    String extent = "RDONLY " + sectors + " SPARSE \"call-me-stream.vmdk\"";
    fields.put(descriptor("streamOptimized", extent).getBytes(US_ASCII));
    if (kind == Stream.FRONT) {
      fields.position(21 * SECTOR);
      for (int sector : directory) {
        fields.putInt(sector);
      }
      for (int table = 0; table < tables; table++) {
        fields.position(directory[table] * SECTOR);
        for (int entry : entries[table]) {
          fields.putInt(entry);
        }
      }
    }
    return file;
  }

  private static byte[] header(long sectors, long directory) {
    ByteBuffer bytes = ByteBuffer.allocate(SECTOR);
    new SparseExtentHeader(3, 0x30001, sectors, 128, 1, 20, 0, directory, 128, false, 1)
        .writeTo(bytes);
    return bytes.array();
  }

  private static boolean isZero(byte[] content, int at) {
    for (int i = at; i < Math.min(content.length, at + GRAIN); i++) {
      if (content[i] != 0) {
        return false;
      }
    }
    return true;
  }

  /** A file that is written from front to end. */
  private static final class Sectors {
    private final ByteArrayOutputStream out = new ByteArrayOutputStream();

    int sector() {
      return out.size() / SECTOR;
    }

    void skipTo(int sector) {
      out.writeBytes(new byte[sector * SECTOR - out.size()]);
    }

    void bytes(byte[] bytes) {
      out.writeBytes(bytes);
      skipTo(Math.ceilDiv(out.size(), SECTOR));
    }

    void ints(int[] values) {
      byte[] bytes = new byte[values.length * Integer.BYTES];
      little(bytes).asIntBuffer().put(values);
      bytes(bytes);
    }

    void marker(long value, int type) {
      byte[] bytes = new byte[SECTOR];
      little(bytes).putLong(value).putInt(0).putInt(type);
      bytes(bytes);
    }

    void grain(long sector, byte[] content) {
      Deflater deflater = new Deflater();
      deflater.setInput(content);
      deflater.finish();
      byte[] packed = new byte[2 * GRAIN];
      int length = deflater.deflate(packed);
      deflater.end();
      byte[] bytes = new byte[12 + length];
      little(bytes).putLong(sector).putInt(length).put(packed, 0, length);
      bytes(bytes);
    }

    byte[] bytes() {
      return out.toByteArray();
    }

    private static ByteBuffer little(byte[] bytes) {
      return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    }
  }

  static Path write(Path file, byte[] bytes) throws IOException {
    return Files.write(file, bytes);
  }
}
