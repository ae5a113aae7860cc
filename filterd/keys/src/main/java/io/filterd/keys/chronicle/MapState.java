package io.filterd.keys.chronicle;

import net.openhft.chronicle.bytes.BytesStore;
import net.openhft.chronicle.hash.VanillaGlobalMutableState;
import org.jspecify.annotations.Nullable;

/**
 * The counters that a Chronicle Map keeps in its own memory, each in 8 bytes. Chronicle would write
 * and compile a class like this at run time, which takes more than a second and a Java compiler.
 * The map is guarded by its own locks; this only reads and writes.
 */
final class MapState implements VanillaGlobalMutableState {
  private static final int ALLOCATED_EXTRA_TIER_BULKS_AT = 0;
  private static final int FIRST_FREE_TIER_INDEX_AT = 8;
  private static final int EXTRA_TIERS_IN_USE_AT = 16;
  private static final int SEGMENT_HEADERS_OFFSET_AT = 24;
  private static final int DATA_STORE_SIZE_AT = 32;
  private static final int SIZE_BYTES = 40;

  private @Nullable BytesStore<?, ?> store;
  private long offset;

  @Override
  @SuppressWarnings("rawtypes") // As the interface has it.
  public void bytesStore(BytesStore newStore, long newOffset, long length) {
    if (length != SIZE_BYTES) {
      throw new IllegalArgumentException("length: " + length + " (expected: " + SIZE_BYTES + ")");
    }
    store = newStore;
    offset = newOffset;
  }

  @Override
  public @Nullable BytesStore<?, ?> bytesStore() {
    return store;
  }

  @Override
  public long offset() {
    return offset;
  }

  @Override
  public long maxSize() {
    return SIZE_BYTES;
  }

  private BytesStore<?, ?> memory() {
    BytesStore<?, ?> memory = store;
    if (memory == null) {
      throw new IllegalStateException("the map has no memory yet");
    }
    return memory;
  }

  private long get(int at) {
    return memory().readLong(offset + at);
  }

  private void set(int at, long value) {
    if (value < 0) {
      throw new IllegalArgumentException("state at " + at + ": " + value + " (expected: >= 0)");
    }
    memory().writeLong(offset + at, value);
  }

  @Override
  public int getAllocatedExtraTierBulks() {
    return Math.toIntExact(get(ALLOCATED_EXTRA_TIER_BULKS_AT));
  }

  @Override
  public void setAllocatedExtraTierBulks(int bulks) {
    set(ALLOCATED_EXTRA_TIER_BULKS_AT, bulks);
  }

  @Override
  public long getFirstFreeTierIndex() {
    return get(FIRST_FREE_TIER_INDEX_AT);
  }

  @Override
  public void setFirstFreeTierIndex(long index) {
    set(FIRST_FREE_TIER_INDEX_AT, index);
  }

  @Override
  public long getExtraTiersInUse() {
    return get(EXTRA_TIERS_IN_USE_AT);
  }

  @Override
  public void setExtraTiersInUse(long tiers) {
    set(EXTRA_TIERS_IN_USE_AT, tiers);
  }

  @Override
  public long getSegmentHeadersOffset() {
    return get(SEGMENT_HEADERS_OFFSET_AT);
  }

  @Override
  public void setSegmentHeadersOffset(long headersOffset) {
    set(SEGMENT_HEADERS_OFFSET_AT, headersOffset);
  }

  @Override
  public long getDataStoreSize() {
    return get(DATA_STORE_SIZE_AT);
  }

  @Override
  public void setDataStoreSize(long sizeBytes) {
    set(DATA_STORE_SIZE_AT, sizeBytes);
  }

  @Override
  public long addDataStoreSize(long addition) {
    long sum = Math.addExact(get(DATA_STORE_SIZE_AT), addition);
    set(DATA_STORE_SIZE_AT, sum);
    return sum;
  }
}
