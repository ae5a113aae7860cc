package io.filterd.vmdk;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.file.AtomicFile;
import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.zip.CRC32;
import java.util.zip.CheckedInputStream;
import java.util.zip.CheckedOutputStream;
import org.jspecify.annotations.Nullable;

/**
 * What a repair changes, as it was before. The file's format (big endian; docs/repair-backup.md):
 * {@code "filterd-repair-1\n"}; the content id of the disk as 8 hexadecimal digits, or {@code
 * "--------"}; then records, each of a byte and what belongs to it:
 *
 * <ul>
 *   <li>{@code F}: the number of bytes (u16) and the UTF-8 name of the file that the next records
 *       are of, beside the disk
 *   <li>{@code S}: the size of the file in bytes (u64)
 *   <li>{@code R}: a position in bytes (u64), a length (u32), and so many bytes of the file
 *   <li>{@code E}: the end; the CRC-32 of all bytes before the record (u32) follows
 * </ul>
 */
final class RepairBackup {
  private static final byte[] MAGIC = "filterd-repair-1\n".getBytes(StandardCharsets.US_ASCII);
  private static final String NO_CID = "--------";
  private static final int CHUNK_BYTES = 1 << 20;

  private RepairBackup() {}

  /**
   * Writes a new backup; durable when this returns.
   *
   * @param cid the content id, or null
   */
  static void write(Path backup, @Nullable Long cid, List<Inspection.Part> parts)
      throws IOException, BlockException {
    boolean done = false;
    try (FileChannel channel =
        FileChannel.open(backup, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
      try {
        CheckedOutputStream checked =
            new CheckedOutputStream(
                new BufferedOutputStream(Channels.newOutputStream(channel)), new CRC32());
        DataOutputStream out = new DataOutputStream(checked);
        out.write(MAGIC);
        out.write(
            (cid == null ? NO_CID : "%08x".formatted(cid)).getBytes(StandardCharsets.US_ASCII));
        for (Inspection.Part part : parts) {
          write(part, out);
        }
        long sum = checked.getChecksum().getValue();
        out.write('E');
        out.writeInt((int) sum);
        out.flush();
        channel.force(true);
        done = true;
      } finally {
        if (!done) {
          Files.deleteIfExists(backup);
        }
      }
    }
    AtomicFile.syncFolderOf(backup);
  }

  private static void write(Inspection.Part part, DataOutputStream out)
      throws IOException, BlockException {
    ExtentFile file = part.file();
    if (part.findings().patches().isEmpty()) {
      return;
    }
    out.write('F');
    out.writeUTF(String.valueOf(Path.of(file.name()).getFileName()));
    out.write('S');
    out.writeLong(file.sizeBytes());
    for (Patch patch : part.findings().patches()) {
      long end = Math.min(file.sizeBytes(), patch.position() + patch.length());
      // What a hole holds comes back by itself.
      for (long at = file.nextData(patch.position(), end); at < end; ) {
        long hole = file.nextHole(at, end);
        writeRanges(file, at, hole, out);
        at = file.nextData(hole, end);
      }
    }
  }

  private static void writeRanges(ExtentFile file, long from, long to, DataOutputStream out)
      throws IOException, BlockException {
    for (long at = from; at < to; at += CHUNK_BYTES) {
      int length = (int) Math.min(CHUNK_BYTES, to - at);
      out.write('R');
      out.writeLong(at);
      out.writeInt(length);
      out.write(DescriptorCheck.bytes(file, at, length));
    }
  }

  /** What is told of a backup as it is read. */
  private interface Reader {
    void file(String name) throws IOException, BlockException;

    void size(long bytes) throws IOException, BlockException;

    void range(long position, byte[] bytes) throws IOException, BlockException;
  }

  /**
   * Puts a disk back to what it was. First the backup is read whole, and its sum compared. Doing it
   * again, or half, does no harm.
   *
   * @throws FormatException if it is no backup, is damaged, or is one of another disk, or of one
   *     that was written since
   */
  static void restore(Path backup, Path disk, List<Inspection.Part> parts, @Nullable Long cid)
      throws IOException, BlockException {
    Map<String, ExtentFile> files = new HashMap<>();
    for (Inspection.Part part : parts) {
      files.put(String.valueOf(Path.of(part.file().name()).getFileName()), part.file());
    }
    read(backup, cid, new Checking(backup, disk, files));
    read(backup, cid, new Restoring(files));
    for (ExtentFile file : files.values()) {
      file.sync();
    }
  }

  private static void read(Path backup, @Nullable Long cid, Reader reader)
      throws IOException, BlockException {
    CheckedInputStream checked =
        new CheckedInputStream(new BufferedInputStream(Files.newInputStream(backup)), new CRC32());
    try (DataInputStream in = new DataInputStream(checked)) {
      if (!Arrays.equals(in.readNBytes(MAGIC.length), MAGIC)) {
        throw bad(backup, 0, "magic", "something else", "a backup that a repair made");
      }
      String was = new String(in.readNBytes(NO_CID.length()), StandardCharsets.US_ASCII);
      if (cid != null && !was.equals(NO_CID) && !was.equals("%08x".formatted(cid))) {
        throw bad(
            backup,
            MAGIC.length,
            "CID",
            was,
            "%08x, the disk's: it is another, or was written since".formatted(cid));
      }
      while (true) {
        long sum = checked.getChecksum().getValue();
        int record = in.readUnsignedByte();
        switch (record) {
          case 'F' -> reader.file(in.readUTF());
          case 'S' -> reader.size(in.readLong());
          case 'R' -> {
            long position = in.readLong();
            int length = in.readInt();
            if (position < 0 || length < 0 || length > CHUNK_BYTES) {
              throw bad(backup, 0, "range", position + "+" + length, "at most " + CHUNK_BYTES);
            }
            byte[] bytes = in.readNBytes(length);
            if (bytes.length < length) {
              throw new EOFException();
            }
            reader.range(position, bytes);
          }
          case 'E' -> {
            if (in.readInt() != (int) sum) {
              throw bad(backup, 0, "CRC-32", "another", "0x" + Long.toHexString(sum));
            }
            return;
          }
          default -> throw bad(backup, 0, "record", "" + record, "F, S, R or E");
        }
      }
    } catch (EOFException cutOff) {
      throw bad(backup, Files.size(backup), "record", "the file ends here", "an end record");
    }
  }

  private static FormatException bad(
      Path backup, long at, String field, String actual, String expected) {
    return new FormatException(backup.toString(), at, field, actual, expected);
  }

  private record Checking(Path backup, Path disk, Map<String, ExtentFile> files) implements Reader {
    @Override
    public void file(String name) throws FormatException {
      if (!files.containsKey(name)) {
        throw bad(backup, 0, "file", name, "a file of " + disk);
      }
    }

    @Override
    public void size(long bytes) {}

    @Override
    public void range(long position, byte[] bytes) {}
  }

  private static final class Restoring implements Reader {
    private final Map<String, ExtentFile> files;
    private @Nullable ExtentFile current;

    Restoring(Map<String, ExtentFile> files) {
      this.files = files;
    }

    @Override
    public void file(String name) {
      current = files.get(name);
    }

    private ExtentFile current() {
      ExtentFile file = current;
      if (file == null) {
        throw new IllegalStateException("no file"); // It was read once, and was right.
      }
      return file;
    }

    @Override
    public void size(long bytes) throws BlockException {
      if (current().sizeBytes() < bytes) {
        current().truncate(bytes);
      }
    }

    @Override
    public void range(long position, byte[] bytes) throws BlockException {
      ByteBuffer direct = ByteBuffer.allocateDirect(bytes.length).put(bytes).flip();
      current().write(position, direct, Blocking.ALLOWED);
    }
  }
}
