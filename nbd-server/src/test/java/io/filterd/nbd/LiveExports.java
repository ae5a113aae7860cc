package io.filterd.nbd;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ConcurrentSkipListMap;
import org.jspecify.annotations.Nullable;

/** Exports that come, go and change while clients use them. */
final class LiveExports implements Exports {
  private final ConcurrentSkipListMap<String, Entry> entries = new ConcurrentSkipListMap<>();

  /** One export; what is said of it may change. */
  static final class Entry {
    private final @Nullable BlockDevice device;
    private final int maxClients;
    private final String description;
    volatile boolean readOnly;

    private Entry(@Nullable BlockDevice device, int maxClients, String description) {
      this.device = device;
      this.maxClients = maxClients;
      this.description = description;
    }
  }

  Entry add(String name, BlockDevice device) {
    return add(name, device, Integer.MAX_VALUE);
  }

  Entry add(String name, BlockDevice device, int maxClients) {
    Entry entry = new Entry(device, maxClients, "the disk " + name);
    entries.put(name, entry);
    return entry;
  }

  void addLocked(String name, String reason) {
    entries.put(name, new Entry(null, 1, reason));
  }

  void remove(String name) {
    entries.remove(name);
  }

  @Override
  public List<String> names(Client client) {
    return List.copyOf(entries.keySet());
  }

  @Override
  public String description(String name, Client client) {
    Entry entry = entries.get(name);
    return entry == null ? "" : entry.description;
  }

  @Override
  public Optional<Lease> open(String name, Client client) throws BlockException {
    Entry entry = entries.get(name);
    if (entry == null) {
      return Optional.empty();
    }
    if (entry.device == null) {
      throw new BlockException(Reason.IO_ERROR, entry.description);
    }
    return Optional.of(new LiveLease(name, entry.device, entry));
  }

  private record LiveLease(String name, BlockDevice device, Entry entry) implements Lease {
    @Override
    public String description() {
      return entry.description;
    }

    @Override
    public boolean readOnly() {
      return entry.readOnly;
    }

    @Override
    public int maxClients() {
      return entry.maxClients;
    }

    @Override
    public void close() {}
  }
}
