package io.filterd.daemon;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import io.filterd.block.Blocking;
import io.filterd.block.Capability;
import io.filterd.block.WriteGate;
import io.filterd.daemon.control.Sizes;
import io.filterd.inventory.DiskName;
import io.filterd.nbd.Client;
import io.filterd.nbd.Exports;
import io.filterd.nbd.MetaContext;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The disks that are served, as NBD exports. A disk that should be served and can't be is
 * <em>locked</em>: its export is listed and refuses with the reason. Safe for many threads.
 */
final class Attachments implements Exports {
  private static final Logger LOG = LoggerFactory.getLogger(Attachments.class);

  /** How long a client waits for a disk that is just being attached. */
  private static final long ATTACH_WAIT_SECONDS = 30;

  private static final int MAX_USES = 1000;

  /** One disk that is served, or should be. */
  private static final class Slot {
    final CountDownLatch settled = new CountDownLatch(1);
    private volatile @Nullable DiskStack stack;
    private volatile @Nullable String lockedBecause;
    private volatile boolean ending;

    /** Refuses the changes of clients, if it is to be read only. */
    private volatile @Nullable WriteGate gate;

    /** One permit for each use, all of them to close the disk. */
    private final Semaphore uses = new Semaphore(MAX_USES);
  }

  /** A disk that is kept open. */
  record Use(DiskStack stack, Semaphore uses) implements AutoCloseable {
    @Override
    public void close() {
      uses.release();
    }
  }

  private final ConcurrentSkipListMap<DiskName, Slot> slots = new ConcurrentSkipListMap<>();

  /**
   * Announces a disk: from now on clients find its export, and wait. False if it is there already.
   */
  boolean begin(DiskName name) {
    return slots.putIfAbsent(name, new Slot()) == null;
  }

  /** The disk is open. */
  void attached(DiskName name, DiskStack stack) {
    Slot slot = slot(name);
    slot.gate = stack.writes();
    slot.stack = stack;
    slot.lockedBecause = null;
    slot.settled.countDown();
  }

  /**
   * The disk could not be opened; its export refuses. Does nothing to one that is open, or that was
   * detached meanwhile.
   *
   * @return whether it was not locked before, or for another reason
   */
  boolean locked(DiskName name, String reason) {
    Slot slot = slots.get(name);
    if (slot == null || slot.stack != null || reason.equals(slot.lockedBecause)) {
      return false;
    }
    slot.lockedBecause = reason;
    slot.settled.countDown();
    return true;
  }

  /** Puts a locked disk in the place of one that was open. */
  void cut(DiskName name, String reason) {
    Slot locked = new Slot();
    locked.lockedBecause = reason;
    locked.settled.countDown();
    slots.replace(name, locked);
  }

  /** Whether clients of a disk wait for it to be opened for the first time. */
  boolean isPending(DiskName name) {
    Slot slot = slots.get(name);
    return slot != null && slot.stack == null && slot.lockedBecause == null;
  }

  private Slot slot(DiskName name) {
    Slot slot = slots.get(name);
    if (slot == null) {
      throw new IllegalStateException("disk " + name + ": not begun");
    }
    return slot;
  }

  /**
   * Refuses changes of a disk by its clients, also those that are there, and waits for the changes
   * that are on their way; or refuses no more. For one thread at a time.
   *
   * @return whether they were over in time; new ones are refused in either case
   */
  boolean setReadOnly(DiskName name, boolean readOnly, Duration patience)
      throws InterruptedException {
    WriteGate gate = slot(name).gate;
    if (gate == null) {
      throw new IllegalStateException("disk " + name + ": not open");
    }
    if (readOnly) {
      return gate.shut(patience);
    }
    gate.open();
    return true;
  }

  /** How a disk is served, if it is: what clients may do, and how many. */
  Optional<String> access(DiskName name) {
    Slot slot = slots.get(name);
    DiskStack stack = slot == null ? null : slot.stack;
    WriteGate gate = slot == null ? null : slot.gate;
    if (gate == null || stack == null) {
      return Optional.empty();
    }
    boolean readOnly = gate.isShut() || !stack.device().info().can(Capability.WRITE);
    StringBuilder text = new StringBuilder(readOnly ? "read-only" : "read-write");
    stack
        .cow()
        .ifPresent(
            cow ->
                text.append(", copy-on-write with ")
                    .append(Sizes.text(cow.memoryBytes()))
                    .append(" of ")
                    .append(Sizes.text(cow.maxMemoryBytes()))
                    .append(" used"));
    int most = stack.options().maxClients();
    if (most > 0) {
      text.append(", at most ").append(most).append(most == 1 ? " client" : " clients");
    }
    return Optional.of(text.toString());
  }

  /** Refuses new clients of a disk. */
  void end(DiskName name) {
    slot(name).ending = true;
  }

  /** Forgets a disk. */
  void remove(DiskName name) {
    slots.remove(name);
  }

  /** The open disk of this name. */
  Optional<DiskStack> stack(DiskName name) {
    Slot slot = slots.get(name);
    return slot == null ? Optional.empty() : Optional.ofNullable(slot.stack);
  }

  /**
   * Keeps a disk open for somebody who is not a client; empty if it is not open, or about to be
   * closed.
   */
  Optional<Use> use(DiskName name) {
    Slot slot = slots.get(name);
    if (slot == null || !slot.uses.tryAcquire()) {
      return Optional.empty();
    }
    DiskStack stack = slot.stack;
    if (stack == null) {
      slot.uses.release();
      return Optional.empty();
    }
    return Optional.of(new Use(stack, slot.uses));
  }

  /** Lets nobody use a disk any more, once nobody does; whether that came to be in time. */
  boolean endUses(DiskName name, Duration patience) throws InterruptedException {
    return slot(name).uses.tryAcquire(MAX_USES, patience.toMillis(), TimeUnit.MILLISECONDS);
  }

  /** Takes {@link #endUses} and {@link #end} back: the disk stays, for clients and others. */
  void resume(DiskName name) {
    Slot slot = slot(name);
    slot.ending = false;
    slot.uses.release(MAX_USES);
  }

  /** The attached disk whose file has this link of a chain, or a copy of it. */
  Optional<DiskName> withLink(String linkId) {
    for (DiskName name : slots.keySet()) {
      if (stack(name).filter(stack -> stack.linkIds().contains(linkId)).isPresent()) {
        return Optional.of(name);
      }
    }
    return Optional.empty();
  }

  /** Whether the disk is served, or should be. */
  boolean contains(DiskName name) {
    return slots.containsKey(name);
  }

  /** Why a disk is locked, if it is. */
  Optional<String> lockedBecause(DiskName name) {
    Slot slot = slots.get(name);
    return slot == null ? Optional.empty() : Optional.ofNullable(slot.lockedBecause);
  }

  /** The disks that are served, or should be. */
  List<DiskName> disks() {
    return List.copyOf(slots.keySet());
  }

  @Override
  public List<String> names(Client client) {
    return slots.keySet().stream().map(DiskName::toString).toList();
  }

  @Override
  public String description(String export, Client client) {
    DiskName name = find(export);
    Slot slot = name == null ? null : slots.get(name);
    return name == null || slot == null ? "" : describe(name, slot);
  }

  private String describe(DiskName name, Slot slot) {
    DiskStack stack = slot.stack;
    if (stack != null) {
      return Sizes.text(stack.device().info().sizeBytes())
          + ", policy "
          + stack.policyName()
          + ", "
          + access(name).orElse("");
    }
    String locked = slot.lockedBecause;
    return locked == null ? "being attached" : "locked: " + locked;
  }

  @Override
  public Optional<Lease> open(String export, Client client) throws BlockException {
    DiskName name = find(export);
    Slot slot = name == null ? null : slots.get(name);
    if (name == null || slot == null) {
      return Optional.empty();
    }
    try {
      if (!slot.settled.await(ATTACH_WAIT_SECONDS, TimeUnit.SECONDS)) {
        throw new BlockException(Reason.IO_ERROR, "disk " + name + " is still being attached");
      }
    } catch (InterruptedException stop) {
      Thread.currentThread().interrupt();
      throw new BlockException(Reason.SHUTTING_DOWN, "the daemon is stopping", stop);
    }
    DiskStack stack = slot.stack;
    WriteGate gate = slot.gate;
    if (stack == null || gate == null) {
      throw new BlockException(
          Reason.IO_ERROR, "disk " + name + " is locked: " + slot.lockedBecause);
    }
    if (slot.ending) {
      throw new BlockException(Reason.SHUTTING_DOWN, "disk " + name + " is being detached");
    }
    return Optional.of(
        new DiskLease(name.toString(), stack, stack.device(), gate, describe(name, slot)));
  }

  /** The empty name stands for the only disk, if there is one only. */
  private @Nullable DiskName find(String export) {
    if (export.isEmpty()) {
      return slots.size() == 1 ? slots.firstKey() : null;
    }
    try {
      return DiskName.parse(export);
    } catch (IllegalArgumentException noDisk) {
      return null;
    }
  }

  /** A client's use of a disk; the server knows when it ends, so nothing is counted here. */
  private record DiskLease(
      String name, DiskStack stack, BlockDevice device, WriteGate gate, String description)
      implements Lease {

    @Override
    public List<MetaContext> contexts() {
      return stack.contexts();
    }

    @Override
    public boolean readOnly() {
      return gate.isShut();
    }

    @Override
    public int maxClients() {
      int most = stack.options().maxClients();
      return most == 0 ? Integer.MAX_VALUE : most;
    }

    /** Flushes what the client did not: nobody else would, for as long as the disk is attached. */
    @Override
    public void close() {
      try {
        device.flush(Blocking.ALLOWED);
      } catch (BlockException failure) {
        LOG.warn("disk={} what a client left could not be flushed", name, failure);
      }
    }
  }
}
