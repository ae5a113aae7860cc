package io.filterd.ova;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.NonWritableChannelException;
import java.nio.channels.SeekableByteChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarConstants;
import org.apache.commons.compress.archivers.tar.TarFile;

/**
 * What is where in a tar. Only plain files with plain names are taken: no folders, links, devices
 * and sparse files, and nothing that would be stored outside the package.
 */
final class TarIndex {
  /** A package has an envelope, a manifest, a certificate, and disks. */
  static final int MEMBER_LIMIT = 1024;

  /**
   * The most that is read to find the members, their contents aside: also what the library may keep
   * of a long name or of extended headers, which it reads whole.
   */
  static final int HEADER_LIMIT_BYTES = 4 << 20;

  private static final int RECORD_BYTES = 512;

  private TarIndex() {}

  /** The members by name, in the order in which they are stored. */
  static Map<String, Member> read(Path file) throws IOException {
    Map<String, Member> members = new LinkedHashMap<>();
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      long fileBytes = channel.size();
      for (TarArchiveEntry entry : entries(file, channel)) {
        Member member = member(file, fileBytes, entry);
        if (members.size() == MEMBER_LIMIT) {
          throw new PackageException(file.toString(), "tar", "more files", "at most 1024");
        }
        if (members.put(member.name(), member) != null) {
          throw new PackageException(file.toString(), "tar", member.name() + " twice", "once");
        }
      }
    }
    return members;
  }

  private static Iterable<TarArchiveEntry> entries(Path file, FileChannel channel)
      throws IOException {
    try (TarFile tar =
        new TarFile(
            new Limited(file, channel),
            TarConstants.DEFAULT_BLKSIZE,
            RECORD_BYTES,
            "UTF-8",
            false)) {
      return tar.getEntries();
    } catch (PackageException limit) {
      throw limit;
    } catch (IOException | IllegalArgumentException damage) {
      throw new PackageException(
          file.toString(), "tar", String.valueOf(damage.getMessage()), "an .ova, which is a tar");
    }
  }

  private static Member member(Path file, long fileBytes, TarArchiveEntry entry)
      throws PackageException {
    String place = file.toString();
    if (!entry.isCheckSumOK()) {
      throw new PackageException(place, "tar", "a header with a wrong check sum", "a tar");
    }
    String name = entry.getName().startsWith("./") ? entry.getName().substring(2) : entry.getName();
    byte kind = entry.getLinkFlag();
    if ((kind != TarConstants.LF_NORMAL && kind != TarConstants.LF_OLDNORM) || entry.isSparse()) {
      throw new PackageException(
          place, "tar", name + " is of kind '" + (char) kind + "'", "plain files only");
    }
    if (!Member.isPlainName(name)) {
      throw new PackageException(place, "tar", name, "plain names without folders");
    }
    long offset = entry.getDataOffset();
    long sizeBytes = entry.getSize();
    if (offset < 0 || sizeBytes < 0 || offset > fileBytes - sizeBytes) {
      throw new PackageException(
          place,
          "tar",
          name + " has " + sizeBytes + " bytes from byte " + offset + " on",
          "inside the file's " + fileBytes + " bytes: was it cut off?");
    }
    return new Member(name, file, offset, sizeBytes);
  }

  /** A file of which only so much can be read. */
  private static final class Limited implements SeekableByteChannel {
    private final Path file;
    private final FileChannel channel;
    private long left = HEADER_LIMIT_BYTES;

    Limited(Path file, FileChannel channel) {
      this.file = file;
      this.channel = channel;
    }

    @Override
    public int read(ByteBuffer target) throws IOException {
      int count = channel.read(target);
      left -= Math.max(0, count);
      if (left < 0) {
        throw new PackageException(
            file.toString(), "tar", "longer headers", "at most " + HEADER_LIMIT_BYTES + " bytes");
      }
      return count;
    }

    @Override
    public int write(ByteBuffer source) {
      throw new NonWritableChannelException();
    }

    @Override
    public long position() throws IOException {
      return channel.position();
    }

    @Override
    public SeekableByteChannel position(long position) throws IOException {
      channel.position(position);
      return this;
    }

    @Override
    public long size() throws IOException {
      return channel.size();
    }

    @Override
    public SeekableByteChannel truncate(long size) {
      throw new NonWritableChannelException();
    }

    @Override
    public boolean isOpen() {
      return channel.isOpen();
    }

    @Override
    public void close() throws IOException {
      channel.close();
    }
  }
}
