package io.filterd.vmdk;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.zip.CRC32C;

/**
 * The head of a file of changes: what stands in it besides the map.
 *
 * <p>Little endian. Two copies, of 4096 bytes each, are written in turn; the one with the higher
 * sequence number counts, so a torn write leaves the other.
 *
 * @param sizeBytes the disk's size
 * @param grainBytes what one entry of the map stands for
 * @param regionBytes what one bit of the intents stands for
 * @param sequence counts the writes of the head
 * @param epoch what is entered for a change now
 * @param open whether changes may have been made since the map was written
 * @param contentId the disk's content id when it was last closed, or opened
 * @param laterContentId the content id after the first change, if {@code open}
 * @param points the points since which changes are known, the oldest first
 */
record ChangeRecord(
    long sizeBytes,
    int grainBytes,
    long regionBytes,
    long sequence,
    int epoch,
    boolean open,
    long contentId,
    long laterContentId,
    List<Point> points) {
  static final int SIZE_BYTES = 4096;
  static final int POINT_LIMIT = 16;
  static final int NAME_LIMIT_BYTES = 96;

  /** The last epoch: entries are 16 bits wide. */
  static final int LAST_EPOCH = 0xffff;

  private static final long MAGIC = 0x45474e4148434446L; // "FDCHANGE"
  private static final int VERSION = 1;
  private static final int POINTS_AT = 80;
  private static final int POINT_BYTES = 16 + NAME_LIMIT_BYTES;
  private static final int CHECKSUM_AT = SIZE_BYTES - Integer.BYTES;
  private static final long SMALLEST_GRAIN_BYTES = 512;
  private static final long LARGEST_GRAIN_BYTES = 1L << 30;

  /** A named moment: what has a later epoch was changed since. */
  record Point(String name, int epoch, Instant since) {}

  ChangeRecord {
    points = List.copyOf(points);
  }

  ChangeRecord next(boolean nowOpen, long id, long laterId) {
    return new ChangeRecord(
        sizeBytes, grainBytes, regionBytes, sequence + 1, epoch, nowOpen, id, laterId, points);
  }

  ChangeRecord with(int newEpoch, List<Point> newPoints) {
    return new ChangeRecord(
        sizeBytes,
        grainBytes,
        regionBytes,
        sequence + 1,
        newEpoch,
        open,
        contentId,
        laterContentId,
        newPoints);
  }

  ChangeRecord withSize(long newSizeBytes) {
    return new ChangeRecord(
        newSizeBytes,
        grainBytes,
        regionBytes,
        sequence,
        epoch,
        open,
        contentId,
        laterContentId,
        points);
  }

  /**
   * Writes this to the copy that is not the last one. To be synced before the next is written: a
   * power failure may tear what was not.
   */
  void writeTo(ExtentFile file) throws BlockException {
    ByteBuffer bytes = ByteBuffer.allocateDirect(SIZE_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    bytes.putLong(MAGIC).putInt(VERSION).putInt(grainBytes).putLong(sizeBytes);
    bytes.putLong(regionBytes).putLong(sequence).putInt(epoch).putInt(open ? 1 : 0);
    bytes.putInt((int) contentId).putInt((int) laterContentId).putInt(points.size());
    for (int i = 0; i < points.size(); i++) {
      Point point = points.get(i);
      byte[] name = point.name().getBytes(StandardCharsets.UTF_8);
      bytes.position(POINTS_AT + i * POINT_BYTES);
      bytes.putInt(point.epoch()).putInt(name.length).putLong(point.since().toEpochMilli());
      bytes.put(name);
    }
    bytes.clear();
    bytes.putInt(CHECKSUM_AT, checksum(bytes));
    file.write(sequence % 2 * SIZE_BYTES, bytes, Blocking.ALLOWED);
  }

  /** Reads the copy that counts. */
  static ChangeRecord read(ExtentFile file) throws FormatException, BlockException {
    if (file.sizeBytes() < 2 * SIZE_BYTES) {
      throw new FormatException(
          file.name(), file.sizeBytes(), "head", "the file ends here", 2 * SIZE_BYTES + " bytes");
    }
    ChangeRecord first = copy(file, 0).orElse(null);
    ChangeRecord second = copy(file, SIZE_BYTES).orElse(null);
    if (first == null || (second != null && second.sequence() > first.sequence())) {
      return second == null ? parse(file, 0, bytes(file, 0)) : second;
    }
    return first;
  }

  /** A copy, if it is whole. */
  private static Optional<ChangeRecord> copy(ExtentFile file, long at) throws BlockException {
    try {
      return Optional.of(parse(file, at, bytes(file, at)));
    } catch (FormatException torn) {
      return Optional.empty();
    }
  }

  private static ByteBuffer bytes(ExtentFile file, long at) throws BlockException {
    ByteBuffer bytes = ByteBuffer.allocateDirect(SIZE_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    file.read(at, bytes, Blocking.ALLOWED);
    return bytes.flip();
  }

  private static ChangeRecord parse(ExtentFile file, long at, ByteBuffer bytes)
      throws FormatException {
    require(file, at, "magic", bytes.getLong(0), MAGIC);
    require(file, at + 8, "version", bytes.getInt(8), VERSION);
    require(file, at + CHECKSUM_AT, "checksum", bytes.getInt(CHECKSUM_AT), checksum(bytes));
    int grain = bytes.getInt(12);
    long size = bytes.getLong(16);
    long region = bytes.getLong(24);
    int count = bytes.getInt(56);
    // The checksum holds, so this was written here; still nothing is used unchecked.
    if (grain < SMALLEST_GRAIN_BYTES
        || grain > LARGEST_GRAIN_BYTES
        || Integer.bitCount(grain) != 1
        || Long.bitCount(region) != 1
        || region < grain
        || size < 0
        || count < 0
        || count > POINT_LIMIT) {
      throw new FormatException(
          file.name(),
          at + 12,
          "sizes",
          "grain %d, disk %d, region %d, points %d".formatted(grain, size, region, count),
          "powers of two, and at most " + POINT_LIMIT + " points");
    }
    List<Point> points = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      points.add(point(file, at, bytes, POINTS_AT + i * POINT_BYTES));
    }
    return new ChangeRecord(
        size,
        grain,
        region,
        bytes.getLong(32),
        bytes.getInt(40),
        bytes.getInt(44) != 0,
        Integer.toUnsignedLong(bytes.getInt(48)),
        Integer.toUnsignedLong(bytes.getInt(52)),
        points);
  }

  private static Point point(ExtentFile file, long head, ByteBuffer bytes, int at)
      throws FormatException {
    int length = bytes.getInt(at + 4);
    if (length < 1 || length > NAME_LIMIT_BYTES) {
      throw new FormatException(
          file.name(), head + at + 4, "name", length + " bytes", "1.." + NAME_LIMIT_BYTES);
    }
    byte[] name = new byte[length];
    bytes.get(at + 16, name);
    return new Point(
        new String(name, StandardCharsets.UTF_8),
        bytes.getInt(at),
        Instant.ofEpochMilli(bytes.getLong(at + 8)));
  }

  private static void require(ExtentFile file, long at, String field, long actual, long expected)
      throws FormatException {
    if (actual != expected) {
      throw new FormatException(
          file.name(), at, field, Long.toHexString(actual), Long.toHexString(expected));
    }
  }

  private static int checksum(ByteBuffer head) {
    byte[] bytes = new byte[CHECKSUM_AT];
    head.get(0, bytes);
    CRC32C sum = new CRC32C();
    sum.update(bytes);
    return (int) sum.getValue();
  }

  /** Refuses a name that NBD, files or people can't say. */
  static void checkName(String name) {
    if (name.isEmpty()
        || name.length() > NAME_LIMIT_BYTES
        || !name.chars().allMatch(c -> c > ' ' && c < 0x7f && c != ':' && c != '"')) {
      throw new IllegalArgumentException(
          "name: "
              + name.length()
              + " characters (expected: 1.."
              + NAME_LIMIT_BYTES
              + " of ASCII, none a blank, a colon or a quote)");
    }
  }
}
