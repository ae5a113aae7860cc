package io.filterd.ova;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.file.NewFile;
import io.filterd.vmdk.DiskCopy;
import io.filterd.vmdk.StreamWriter;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.DigestOutputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.zip.ZipEncodingHelper;

/**
 * Writes the disks of a VM into a new .ova: the envelope, a manifest with SHA-256, and the disks,
 * stream-optimized. The file is there whole and durable after {@link #finish}, else not at all. No
 * temporary copy is made: envelope and manifest, which come first and tell the sizes and digests of
 * what follows, have their place kept free, and are written last. Takes as much memory as {@link
 * StreamWriter}. For one thread.
 */
public final class OvaWriter implements AutoCloseable {
  /** The most disks of a VM that have a place in its hardware. */
  public static final int DISK_LIMIT = EnvelopeText.DISK_LIMIT;

  private static final Pattern NAME = Pattern.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,62}");
  private static final int RECORD_BYTES = 512;

  /** What tar programs pad archives to. */
  private static final int BLOCK_BYTES = 20 * RECORD_BYTES;

  private static final int MODE = 0100644;
  private static final String DIGEST = "SHA-256";
  private static final int DIGEST_BYTES = 32;

  private final NewFile file;
  private final FileChannel channel;
  private final String vm;
  private final List<String> diskNames;
  private final List<EnvelopeText.Disk> disks = new ArrayList<>();
  private final Map<String, byte[]> digests = new LinkedHashMap<>();
  private final long timeMillis = System.currentTimeMillis();
  private final int envelopeBytes;
  private final int manifestBytes;

  private OvaWriter(NewFile file, String vm, List<String> diskNames) throws IOException {
    this.file = file;
    this.channel = file.channel();
    this.vm = vm;
    this.diskNames = List.copyOf(diskNames);
    List<EnvelopeText.Disk> longest = new ArrayList<>();
    digests.put(envelopeName(), new byte[DIGEST_BYTES]);
    for (String name : diskNames) {
      longest.add(new EnvelopeText.Disk(fileName(name), Long.MAX_VALUE, Long.MAX_VALUE));
      digests.put(fileName(name), new byte[DIGEST_BYTES]);
    }
    this.envelopeBytes = utf8(EnvelopeText.of(vm, longest)).length;
    this.manifestBytes = utf8(manifest()).length;
    channel.position(2L * RECORD_BYTES + padded(envelopeBytes) + padded(manifestBytes));
  }

  /**
   * Starts an .ova.
   *
   * @param vm the VM's name: 1..63 letters, digits, dots, underscores and hyphens
   * @param diskNames the names of its disks, of the same form: 1..60, each different
   * @throws java.nio.file.FileAlreadyExistsException if there is something of this name, which
   *     stays as it is
   */
  public static OvaWriter create(Path target, String vm, List<String> diskNames)
      throws IOException {
    List<String> all = new ArrayList<>(diskNames);
    all.add(vm);
    for (String name : all) {
      if (!NAME.matcher(name).matches()) {
        throw new IllegalArgumentException("name: " + name + " (expected: " + NAME + ")");
      }
    }
    long different = diskNames.stream().distinct().count();
    if (different != diskNames.size()
        || diskNames.isEmpty()
        || diskNames.size() > EnvelopeText.DISK_LIMIT) {
      throw new IllegalArgumentException(
          "disks: "
              + diskNames.size()
              + ", "
              + different
              + " of them different (expected: 1.."
              + EnvelopeText.DISK_LIMIT
              + " different ones)");
    }
    NewFile file = NewFile.create(target);
    boolean started = false;
    try {
      OvaWriter writer = new OvaWriter(file, vm, diskNames);
      started = true;
      return writer;
    } finally {
      if (!started) {
        file.close();
      }
    }
  }

  private String envelopeName() {
    return vm + ".ovf";
  }

  private String fileName(String diskName) {
    return vm + "-" + diskName + ".vmdk";
  }

  /**
   * Writes the next disk, in the order of the names.
   *
   * @return false if the listener stopped it; the .ova can't be finished then
   */
  public boolean add(BlockDevice disk, DiskCopy.Listener listener)
      throws IOException, BlockException {
    String name = fileName(diskNames.get(disks.size()));
    long headerAt = channel.position();
    long start = headerAt + RECORD_BYTES;
    channel.position(start);
    MessageDigest digest = digest();
    OutputStream out = new DigestOutputStream(Channels.newOutputStream(channel), digest);
    if (!StreamWriter.write(disk, name, out, listener)) {
      return false;
    }
    long fileBytes = channel.position() - start;
    long capacityBytes = Math.ceilDiv(disk.info().sizeBytes(), (long) RECORD_BYTES) * RECORD_BYTES;
    writeHeader(headerAt, name, fileBytes);
    // A stream is made of whole sectors, which are as long as records.
    disks.add(new EnvelopeText.Disk(name, fileBytes, capacityBytes));
    digests.put(name, digest.digest());
    return true;
  }

  /** Makes the .ova complete: all disks are in it. */
  public void finish() throws IOException {
    if (disks.size() != diskNames.size()) {
      throw new IllegalStateException(
          "disks: " + disks.size() + " (expected: " + diskNames.size() + ")");
    }
    long end = Math.ceilDiv(channel.position() + 2L * RECORD_BYTES, BLOCK_BYTES) * BLOCK_BYTES;
    writeFully(end - 1, ByteBuffer.allocate(1));
    byte[] text = utf8(EnvelopeText.of(vm, disks));
    // Its place was measured with the longest numbers; blanks at the end mean nothing in XML.
    byte[] envelope = utf8(new String(text, StandardCharsets.UTF_8) + blanks(text.length));
    digests.put(envelopeName(), digest().digest(envelope));
    writeHeader(0, envelopeName(), envelope.length);
    writeFully(RECORD_BYTES, ByteBuffer.wrap(envelope));
    long manifestAt = RECORD_BYTES + padded(envelopeBytes);
    writeHeader(manifestAt, vm + ".mf", manifestBytes);
    writeFully(manifestAt + RECORD_BYTES, ByteBuffer.wrap(utf8(manifest())));
    file.complete();
  }

  private String blanks(int usedBytes) {
    int missing = envelopeBytes - usedBytes;
    return missing == 0 ? "" : " ".repeat(missing - 1) + "\n";
  }

  private String manifest() {
    StringBuilder text = new StringBuilder();
    digests.forEach(
        (name, digest) ->
            text.append("SHA256(%s)= %s\n".formatted(name, HexFormat.of().formatHex(digest))));
    return text.toString();
  }

  private void writeHeader(long position, String name, long sizeBytes) throws IOException {
    TarArchiveEntry entry = new TarArchiveEntry(name);
    entry.setMode(MODE);
    entry.setModTime(timeMillis);
    entry.setSize(sizeBytes);
    byte[] header = new byte[RECORD_BYTES];
    // Sizes of 8 GiB and more as GNU's and VMware's tars have them: in binary.
    entry.writeEntryHeader(header, ZipEncodingHelper.getZipEncoding("UTF-8"), true);
    writeFully(position, ByteBuffer.wrap(header));
  }

  private void writeFully(long position, ByteBuffer bytes) throws IOException {
    long at = position;
    while (bytes.hasRemaining()) {
      at += channel.write(bytes, at);
    }
  }

  private static long padded(int bytes) {
    return Math.ceilDiv(bytes, RECORD_BYTES) * (long) RECORD_BYTES;
  }

  private static byte[] utf8(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  private static MessageDigest digest() {
    try {
      return MessageDigest.getInstance(DIGEST);
    } catch (NoSuchAlgorithmException bug) {
      throw new IllegalStateException(bug);
    }
  }

  /** Closes the file, and removes it if it was not finished. */
  @Override
  public void close() throws IOException {
    file.close();
  }
}
