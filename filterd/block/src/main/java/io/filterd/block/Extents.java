package io.filterd.block;

import java.util.Arrays;

/**
 * What a range is made of: consecutive parts, each with a length and a kind, from the start of the
 * range. Neighbours differ in kind. Immutable.
 *
 * <p>The common answers, one kind for the whole range, are shared constants that fit a range of any
 * length, so that they cost no allocation: their one part has the length {@link #WHOLE}, which
 * {@link #lengthBytes(int, long)} resolves.
 */
public final class Extents {
  /** The length of the one part of a shared constant: the whole range that was asked for. */
  private static final long WHOLE = -1;

  /** The whole range is data. */
  public static final Extents ALL_DATA = uniform(ExtentKind.DATA);

  /** The whole range is zeros. */
  public static final Extents ALL_ZERO = uniform(ExtentKind.ZERO);

  /** The whole range is absent. */
  public static final Extents ALL_ABSENT = uniform(ExtentKind.ABSENT);

  /** Not an answer: the operation would have blocked. It has no parts. */
  public static final Extents WOULD_BLOCK = new Extents(new long[0], new ExtentKind[0]);

  private final long[] lengths;
  private final ExtentKind[] kinds;

  private Extents(long[] lengths, ExtentKind[] kinds) {
    this.lengths = lengths;
    this.kinds = kinds;
  }

  private static Extents uniform(ExtentKind kind) {
    return new Extents(new long[] {WHOLE}, new ExtentKind[] {kind});
  }

  /** The shared constant for a whole range of one kind. */
  public static Extents all(ExtentKind kind) {
    return switch (kind) {
      case DATA -> ALL_DATA;
      case ZERO -> ALL_ZERO;
      case ABSENT -> ALL_ABSENT;
    };
  }

  /** The number of parts; 0 for {@link #WOULD_BLOCK} only. */
  public int count() {
    return lengths.length;
  }

  /** The kind of part {@code index}, 0-based. */
  public ExtentKind kind(int index) {
    return kinds[index];
  }

  /**
   * The length of part {@code index}, in bytes.
   *
   * @param requestBytes the length of the range that was asked for
   */
  public long lengthBytes(int index, long requestBytes) {
    long length = lengths[index];
    return length == WHOLE ? requestBytes : length;
  }

  /** How many bytes from the start of the range are described: at most {@code requestBytes}. */
  public long totalBytes(long requestBytes) {
    long total = 0;
    for (int i = 0; i < lengths.length; i++) {
      total += lengthBytes(i, requestBytes);
    }
    return total;
  }

  /** Whether all that is described is of this kind: the whole range, unless it ended early. */
  public boolean isAll(ExtentKind kind) {
    return kinds.length == 1 && kinds[0] == kind;
  }

  /**
   * What a part of the range is made of, as far as it is described here.
   *
   * @param requestBytes the length of the range that was asked for
   * @param skipBytes where the part begins, in bytes from the start of the range: less than what is
   *     described
   * @param lengthBytes the length of the part
   */
  public Extents part(long requestBytes, long skipBytes, long lengthBytes) {
    if (lengths.length == 1 && lengths[0] == WHOLE) {
      return this;
    }
    return new Builder().add(this, requestBytes, skipBytes, lengthBytes).build();
  }

  @Override
  public String toString() {
    return this == WOULD_BLOCK ? "WOULD_BLOCK" : Arrays.toString(lengths) + Arrays.toString(kinds);
  }

  /** Collects parts in order; joins neighbours of one kind. For one thread. */
  public static final class Builder {
    private long[] lengths = new long[8];
    private ExtentKind[] kinds = new ExtentKind[8];
    private int count;
    private long total;

    /** Adds {@code lengthBytes} bytes of {@code kind} at the end; none if the length is 0. */
    public Builder add(long lengthBytes, ExtentKind kind) {
      if (lengthBytes < 0) {
        throw new IllegalArgumentException("lengthBytes: " + lengthBytes + " (expected: >= 0)");
      }
      if (lengthBytes == 0) {
        return this;
      }
      total += lengthBytes;
      if (count > 0 && kinds[count - 1] == kind) {
        lengths[count - 1] += lengthBytes;
        return this;
      }
      if (count == lengths.length) {
        lengths = Arrays.copyOf(lengths, count * 2);
        kinds = Arrays.copyOf(kinds, count * 2);
      }
      lengths[count] = lengthBytes;
      kinds[count] = kind;
      count++;
      return this;
    }

    /**
     * Adds what another answer says of a part of its range; the parameters are those of {@link
     * Extents#part}.
     */
    public Builder add(Extents extents, long requestBytes, long skipBytes, long lengthBytes) {
      long end = skipBytes + lengthBytes;
      long at = 0;
      for (int i = 0; i < extents.count(); i++) {
        long next = at + extents.lengthBytes(i, requestBytes);
        add(Math.max(0, Math.min(next, end) - Math.max(at, skipBytes)), extents.kind(i));
        at = next;
      }
      return this;
    }

    /** The number of parts so far. */
    public int count() {
      return count;
    }

    /** The bytes described so far. */
    public long totalBytes() {
      return total;
    }

    /** The collected parts. At least one must have been added. */
    public Extents build() {
      if (count == 0) {
        throw new IllegalStateException("extents: none (expected: at least one)");
      }
      return new Extents(Arrays.copyOf(lengths, count), Arrays.copyOf(kinds, count));
    }
  }
}
