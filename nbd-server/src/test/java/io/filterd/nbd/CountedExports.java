package io.filterd.nbd;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;

/** Some devices by name, the first one the default; counts the leases that are open. */
final class CountedExports implements Exports {
  private record Entry(
      BlockDevice device,
      boolean readOnly,
      String description,
      List<MetaContext> contexts,
      boolean inTls) {}

  private final Map<String, Entry> entries = new LinkedHashMap<>();
  private final Map<String, BlockException> refusals = new LinkedHashMap<>();
  // Only the last one: tests send many.
  private volatile @Nullable Client lastClient;
  private final AtomicInteger open = new AtomicInteger();

  CountedExports with(String name, BlockDevice device, MetaContext... contexts) {
    entries.put(name, new Entry(device, false, "", List.of(contexts), false));
    return this;
  }

  CountedExports withReadOnly(String name, BlockDevice device, String description) {
    entries.put(name, new Entry(device, true, description, List.of(), false));
    return this;
  }

  CountedExports withInTls(String name, BlockDevice device) {
    entries.put(name, new Entry(device, false, "", List.of(), true));
    return this;
  }

  CountedExports withRefused(String name, BlockException.Reason reason, String why) {
    refusals.put(name, new BlockException(reason, why));
    return this;
  }

  /** The client that asked last. */
  Client lastClient() {
    return Objects.requireNonNull(lastClient);
  }

  /** Whether any client has asked. */
  boolean wereAsked() {
    return lastClient != null;
  }

  int openLeases() {
    return open.get();
  }

  @Override
  public List<String> names(Client client) {
    lastClient = client;
    return entries.entrySet().stream()
        .filter(each -> client.inTls() || !each.getValue().inTls())
        .map(Map.Entry::getKey)
        .toList();
  }

  @Override
  public Optional<Lease> open(String asked, Client client)
      throws BlockException, TlsRequiredException {
    lastClient = client;
    BlockException refusal = refusals.get(asked);
    if (refusal != null) {
      throw refusal;
    }
    String name = asked.isEmpty() ? entries.keySet().iterator().next() : asked;
    Entry entry = entries.get(name);
    if (entry == null) {
      return Optional.empty();
    }
    if (entry.inTls() && !client.inTls()) {
      throw new TlsRequiredException(name + " is served inside TLS only");
    }
    open.incrementAndGet();
    return Optional.of(new CountedLease(name, entry));
  }

  private final class CountedLease implements Lease {
    private final String name;
    private final Entry entry;

    private CountedLease(String name, Entry entry) {
      this.name = name;
      this.entry = entry;
    }

    @Override
    public BlockDevice device() {
      return entry.device();
    }

    @Override
    public String name() {
      return name;
    }

    @Override
    public String description() {
      return entry.description();
    }

    @Override
    public boolean readOnly() {
      return entry.readOnly();
    }

    @Override
    public List<MetaContext> contexts() {
      return entry.contexts();
    }

    @Override
    public void close() {
      open.decrementAndGet();
    }
  }
}
