package io.filterd.kmip.ttlv;

import java.util.List;
import org.jspecify.annotations.Nullable;

/** An item made of items, whose order matters. */
public final class Structure implements Item {
  /** The deepest nesting there can be, this structure counted. */
  public static final int MAX_DEPTH = 64;

  /** The largest content there can be, in bytes. */
  public static final int MAX_LENGTH_BYTES = 1 << 30;

  private final int tag;
  private final List<Item> items;
  private final int lengthBytes;
  private final int depth;

  /** A structure of these items, in this order. The list is copied. */
  public Structure(int tag, List<Item> items) {
    checkTag(tag);
    this.tag = tag;
    this.items = List.copyOf(items);
    long bytes = 0;
    int deepest = 0;
    for (Item item : this.items) {
      bytes += item.encodedBytes();
      deepest = item instanceof Structure inner ? Math.max(deepest, inner.depth) : deepest;
    }
    if (bytes > MAX_LENGTH_BYTES) {
      throw new IllegalArgumentException(
          "%s: %d bytes (expected: at most %d)"
              .formatted(Tag.nameOf(tag), bytes, MAX_LENGTH_BYTES));
    }
    if (deepest >= MAX_DEPTH) {
      throw new IllegalArgumentException(
          "%s: nested deeper than %d".formatted(Tag.nameOf(tag), MAX_DEPTH));
    }
    this.lengthBytes = (int) bytes;
    this.depth = deepest + 1;
  }

  static void checkTag(int tag) {
    if (tag < 0 || tag > MAX_TAG) {
      throw new IllegalArgumentException("tag: 0x%X (expected: 24 bits)".formatted(tag));
    }
  }

  /** The items in their order, unmodifiable. */
  public List<Item> items() {
    return items;
  }

  /** The first item with this tag, or null. */
  public @Nullable Item first(Tag wanted) {
    for (Item item : items) {
      if (item.is(wanted)) {
        return item;
      }
    }
    return null;
  }

  @Override
  public int tag() {
    return tag;
  }

  @Override
  public ItemType type() {
    return ItemType.STRUCTURE;
  }

  @Override
  public int lengthBytes() {
    return lengthBytes;
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof Structure that && tag == that.tag && items.equals(that.items);
  }

  @Override
  public int hashCode() {
    return 31 * tag + items.hashCode();
  }

  @Override
  public String toString() {
    return TtlvDump.of(this);
  }
}
