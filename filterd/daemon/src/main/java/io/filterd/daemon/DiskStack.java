package io.filterd.daemon;

import io.filterd.block.AlignmentFilter;
import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.CheckedDevice;
import io.filterd.block.CowDevice;
import io.filterd.block.RangeLock;
import io.filterd.block.WriteGate;
import io.filterd.daemon.PolicyGate.Exchange;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import io.filterd.daemon.control.Results;
import io.filterd.filter.Delaying;
import io.filterd.filter.FilterClass;
import io.filterd.filter.FilterContext;
import io.filterd.filter.FilterFactory;
import io.filterd.filter.FilterSettings;
import io.filterd.filter.Reporting;
import io.filterd.inventory.ServeOptions;
import io.filterd.nbd.MetaContext;
import io.filterd.policy.StoragePolicy;
import io.filterd.policy.StoragePolicy.FilterUse;
import io.filterd.vmdk.ChangeTracking;
import io.filterd.vmdk.LinkedDisk;
import io.filterd.vmdk.VmdkDisk;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.Stream;

/**
 * An open disk and everything that stands in front of it, from the mapping of its file to the
 * device that clients see.
 */
final class DiskStack implements AutoCloseable {
  /** A filter that runs. */
  record Running(FilterFactory factory, BlockDevice filter, Map<String, Object> settings) {
    /** Whether it matters that a request passes this filter and not another like it. */
    boolean keepsData() {
      return switch (factory.filterClass()) {
        case INSPECTION, QOS -> false;
        case CACHE, REPLICATION, ENCRYPTION, INTEGRITY -> true;
      };
    }
  }

  /** A policy, and its filters that run. */
  private record Applied(StoragePolicy policy, List<Running> running) {}

  private final String name;
  private final FilterRegistry filters;
  private final LinkedDisk links;
  private final ServeOptions options;
  private final Optional<CowDevice> cow;

  /** What the policy's filters stand on. */
  private volatile BlockDevice base;

  private volatile Optional<ChangeTracking> tracking;
  private final MetaContext depth;
  private final PolicyGate gate;

  /** Refuses the changes of clients, if they are to read only. */
  private final WriteGate writes;

  private final LinkCiphers ciphers;

  /** Guards blocks for every alignment filter that stands on this disk. */
  private final RangeLock blocks;

  private volatile BlockDevice top;
  private volatile Applied applied;

  /** Those that were exchanged, and may still hold requests. */
  private final List<Running> former = new CopyOnWriteArrayList<>();

  private DiskStack(
      String name,
      FilterRegistry filters,
      LinkedDisk links,
      ServeOptions options,
      Optional<CowDevice> cow,
      BlockDevice base,
      Optional<ChangeTracking> tracking,
      MetaContext depth,
      LinkCiphers ciphers,
      Applied applied,
      BlockDevice filtered) {
    this.name = name;
    this.filters = filters;
    this.links = links;
    this.options = options;
    this.cow = cow;
    this.base = base;
    this.tracking = tracking;
    this.depth = depth;
    this.ciphers = ciphers;
    this.applied = applied;
    this.blocks = new RangeLock(filtered.info().blockSizes().minimum());
    this.gate = new PolicyGate(aligned(filtered));
    this.writes = new WriteGate(gate);
    this.top = new CheckedDevice(writes);
  }

  /**
   * Stacks a disk's pipeline: the chain of its links, each behind its cipher; what keeps changes in
   * memory if the file is to stay as it is, the policy's filters in class order, and the only
   * read-modify-write on top.
   *
   * @param links taken over, and closed if this fails
   * @param ciphers what stands in front of the links; taken over, and closed if this fails
   */
  static DiskStack open(
      String name,
      FilterRegistry filters,
      LinkedDisk links,
      ServeOptions options,
      LinkCiphers ciphers,
      StoragePolicy policy)
      throws BlockException, IOException {
    BlockDevice bottom = links;
    boolean opened = false;
    try {
      bottom = new CheckedDevice(links);
      Optional<ChangeTracking> tracking = Optional.empty();
      if (options.mode() == ServeOptions.Mode.READ_WRITE) {
        tracking = openTracking(links);
        bottom = tracked(bottom, tracking);
      }
      Optional<CowDevice> cow = Optional.empty();
      if (options.mode() == ServeOptions.Mode.COPY_ON_WRITE) {
        CowDevice changes = new CowDevice(bottom, options.cowMemoryBytes());
        cow = Optional.of(changes);
        bottom = new CheckedDevice(changes);
      }
      List<Running> running = new ArrayList<>();
      BlockDevice filtered = stack(name, filters, policy, bottom, running);
      DiskStack stack =
          new DiskStack(
              name,
              filters,
              links,
              options,
              cow,
              bottom,
              tracking,
              new AllocationDepth(links),
              ciphers,
              new Applied(policy, running),
              filtered);
      opened = true;
      return stack;
    } finally {
      if (!opened) {
        closeWithCiphers(bottom, ciphers);
      }
    }
  }

  private static VmdkDisk topOf(LinkedDisk links) {
    return links.links().getFirst().disk();
  }

  private static Optional<ChangeTracking> openTracking(LinkedDisk links)
      throws BlockException, IOException {
    // Whichever link is the top one when the question is asked.
    return DiskChanges.openIfThere(
        links.file(), links.info().sizeBytes(), () -> topOf(links).descriptor().cid());
  }

  private static BlockDevice tracked(BlockDevice below, Optional<ChangeTracking> tracking) {
    return tracking.isPresent() ? new CheckedDevice(tracking.get().track(below)) : below;
  }

  /** What tracks the changes of the disk, if anything does. */
  Optional<ChangeTracking> tracking() {
    return tracking;
  }

  /** Tracks changes from now on, under live requests. */
  void startTracking() throws OperationException, BlockException, IOException {
    if (options.mode() != ServeOptions.Mode.READ_WRITE) {
      throw new OperationException(
          Code.CONFLICT, "disk " + name + " is not served to be written: its file does not change");
    }
    Path beside = ChangeTracking.fileOf(links.file());
    ChangeTracking.create(beside, links.info().sizeBytes(), disk().descriptor().cid());
    Optional<ChangeTracking> started = openTracking(links);
    base = tracked(base, started);
    tracking = started;
    // What is under way does not pass what tracks it yet: it is waited for.
    exchange(applied.policy(), Exchange.AFTER_THE_LAST);
  }

  /** The only read-modify-write. One for each exchange, and one lock for all of them. */
  private BlockDevice aligned(BlockDevice filtered) {
    return new AlignmentFilter(filtered, 1, blocks);
  }

  /** Tracks changes no more, under live requests. */
  void stopTracking() throws BlockException {
    Optional<ChangeTracking> ended = tracking;
    if (ended.isPresent()) {
      base = new CheckedDevice(links);
      tracking = Optional.empty();
      exchange(applied.policy(), Exchange.AFTER_THE_LAST);
      ended.get().close();
    }
  }

  private BlockDevice trackedAfterGrowth() throws BlockException, IOException {
    if (tracking.isPresent()) {
      tracking.get().close();
      tracking = openTracking(links);
    }
    return tracked(new CheckedDevice(links), tracking);
  }

  /** Stacks a policy's filters on a chain, which they leave open when they are closed. */
  private static BlockDevice stack(
      String name,
      FilterRegistry filters,
      StoragePolicy policy,
      BlockDevice chain,
      List<Running> running)
      throws BlockException {
    BlockDevice top = new SharedDevice(chain);
    boolean stacked = false;
    try {
      for (FilterUse use : policy.filters().reversed()) {
        FilterFactory factory = filters.get(use.filter());
        BlockDevice filter = factory.create(new Context(name, use.settings()), top);
        running.addFirst(new Running(factory, filter, use.settings()));
        top = new CheckedDevice(filter);
      }
      stacked = true;
      return top;
    } finally {
      if (!stacked) {
        top.close();
      }
    }
  }

  private record Context(String disk, Map<String, Object> values) implements FilterContext {
    @Override
    public FilterSettings settings() {
      return new FilterSettings(values);
    }

    @Override
    public <T> T service(Class<T> type) {
      throw new IllegalArgumentException("service: no " + type.getName() + " here");
    }
  }

  /**
   * Exchanges the policy's filters under live requests. Returns without waiting for those in the
   * old filters, which may be many behind a narrow limit, unless a filter keeps data of its own.
   */
  void apply(StoragePolicy policy) throws BlockException {
    exchange(policy, Exchange.OVERLAPPING);
  }

  private void exchange(StoragePolicy policy, Exchange how) throws BlockException {
    List<Running> next = new ArrayList<>();
    BlockDevice filtered = aligned(stack(name, filters, policy, base, next));
    boolean keepsData =
        Stream.of(applied.running(), next).flatMap(List::stream).anyMatch(Running::keepsData);
    boolean exchanged = false;
    try {
      gate.exchange(filtered, keepsData ? Exchange.AFTER_THE_LAST : how);
      exchanged = true;
    } finally {
      if (!exchanged) {
        filtered.close();
      }
    }
    former.addAll(applied.running());
    applied = new Applied(policy, next);
    if (gate.closeDrained()) {
      former.clear();
    }
  }

  /**
   * Makes the disk larger under live requests, which wait for that. Clients that are there go on
   * with the size that they know; {@link #device} has the new one.
   */
  void grow(long sizeBytes) throws BlockException, IOException {
    List<Running> next = new ArrayList<>();
    Applied now = applied;
    gate.grow(
        () -> {
          links.grow(sizeBytes);
          BlockDevice grown = trackedAfterGrowth();
          BlockDevice made = aligned(stack(name, filters, now.policy(), grown, next));
          base = grown; // What stood on the same links is left open, and forgotten.
          return made;
        });
    top = new CheckedDevice(writes);
    former.addAll(now.running());
    applied = new Applied(now.policy(), next);
    if (gate.closeDrained()) {
      former.clear();
    }
  }

  /** Lets the changes of clients through, or refuses them. */
  WriteGate writes() {
    return writes;
  }

  /** What clients see, as large as it is now: who has it already goes on with the size before. */
  BlockDevice device() {
    return top;
  }

  /** What clients may ask of it beside its content. */
  List<MetaContext> contexts() {
    // The links know nothing of changes that are only in memory.
    if (cow.isPresent()) {
      return List.of();
    }
    List<MetaContext> contexts = new ArrayList<>(List.of(depth));
    tracking.ifPresent(
        each -> each.points().forEach(point -> contexts.add(new DirtyBitmap(each, point.name()))));
    return contexts;
  }

  /** The top link, as it is at the moment. */
  VmdkDisk disk() {
    return topOf(links);
  }

  /** All links of the disk. */
  LinkedDisk links() {
    return links;
  }

  /** The ids of all keys that the disk is open with. */
  Set<String> linkIds() {
    return ciphers.linkIds();
  }

  /** Wipes the key of a link that is closed for good. */
  void forget(String linkId) {
    ciphers.forget(linkId);
  }

  /** Wipes all keys, whatever is under way: requests that need one fail. */
  void wipe() {
    ciphers.close();
  }

  /** How it was opened to be served. */
  ServeOptions options() {
    return options;
  }

  /** What keeps the changes of clients in memory, if the file is to stay as it is. */
  Optional<CowDevice> cow() {
    return cow;
  }

  /** The fingerprint of the policy as it was when it was applied. */
  String policyDigest() {
    return applied.policy().digest();
  }

  /** The name of the policy whose filters run. */
  String policyName() {
    return applied.policy().name();
  }

  /** The policy's filters that run, the one nearest the client first. */
  List<FilterUse> filterUses() {
    return applied.running().stream()
        .map(each -> new FilterUse(each.factory().name(), each.settings()))
        .toList();
  }

  /** What runs and what it has to tell, the filter nearest the client first. */
  List<Results.Filter> filters() {
    List<Results.Filter> results = new ArrayList<>();
    applied.running().forEach(each -> results.add(result(each)));
    BlockDevice cipher = ciphers.filter(disk());
    if (cipher != null) {
      results.add(result(new Running(ciphers.factory(), cipher, Map.of())));
    }
    return results;
  }

  private Results.Filter result(Running each) {
    FilterClass filterClass = each.factory().filterClass();
    Map<String, String> settings = new TreeMap<>();
    each.settings().forEach((key, value) -> settings.put(key, String.valueOf(value)));
    Map<String, Object> report =
        each.filter() instanceof Reporting reporting ? reporting.report() : Map.of();
    return new Results.Filter(
        each.factory().name(),
        filterClass.name().toLowerCase(java.util.Locale.ROOT),
        filterClass.seesPlaintext() ? "plaintext" : "ciphertext",
        settings,
        report);
  }

  /** Lets every request through that a filter holds back: the disk is about to be closed. */
  void stopDelaying() {
    Stream.of(former, applied.running())
        .flatMap(List::stream)
        .forEach(
            each -> {
              if (each.filter() instanceof Delaying delaying) {
                delaying.stopDelaying();
              }
            });
  }

  /** Flushes and closes everything, from the top down; the cipher's keys are wiped. */
  @Override
  public void close() throws BlockException {
    try {
      top.close();
    } finally {
      closeWithCiphers(base, ciphers);
    }
  }

  /** The filters do not own their ciphers: the keys are wiped here, once nothing needs them. */
  private static void closeWithCiphers(BlockDevice device, LinkCiphers ciphers)
      throws BlockException {
    try {
      device.close();
    } finally {
      ciphers.close();
    }
  }
}
