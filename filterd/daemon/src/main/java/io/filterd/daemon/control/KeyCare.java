package io.filterd.daemon.control;

import java.util.List;
import org.jspecify.annotations.Nullable;

/** The operations that look after keys and locked disks, their arguments and their results. */
public final class KeyCare {
  private KeyCare() {}

  /** Says of every key that something names how it is. */
  public static final Operation<Requests.None, Keys> KEY_STATUS =
      new Operation<>("key.status", Requests.None.class, Keys.class);

  /** Makes disks unreadable now. */
  public static final Operation<Target, DiskStates> KEY_LOCK =
      new Operation<>("key.lock", Target.class, DiskStates.class);

  /** Takes locks back, and tries to open what is locked. */
  public static final Operation<Target, DiskStates> KEY_UNLOCK =
      new Operation<>("key.unlock", Target.class, DiskStates.class);

  /** Says what would survive which loss. */
  public static final Operation<Requests.None, Preflight> KEY_PREFLIGHT =
      new Operation<>("key.preflight", Requests.None.class, Preflight.class);

  /** Asks the key providers how they are, now. */
  public static final Operation<Requests.None, Results.Providers> PROVIDER_PROBE =
      new Operation<>("provider.probe", Requests.None.class, Results.Providers.class);

  /** Names a VM, with all its disks, or a disk; null stands for every disk. */
  public record Target(@Nullable String name) {}

  /**
   * How a disk is after a command.
   *
   * @param state as in {@link Results.Disk}
   * @param reason why it is locked, or null
   */
  public record DiskState(String disk, String state, @Nullable String reason) {}

  /** How disks are after a command, and what is to be known beside. */
  public record DiskStates(List<DiskState> disks, List<String> warnings) {
    /** What {@code key unlock} ends with: whether a disk is still locked. */
    public int unlockExitStatus() {
      return disks.stream().anyMatch(each -> each.state().equals("locked"))
          ? OperationException.Code.KEY.exitStatus()
          : 0;
    }
  }

  /**
   * A key-encryption key that something names.
   *
   * @param status {@code available}, {@code not-active}, {@code missing-in-provider}, {@code
   *     wrong-check-value}, {@code provider-unknown}, {@code provider-unavailable} or {@code
   *     provider-refuses}
   * @param state its state in the provider, as KMIP calls it, or null if that is not known
   * @param detail a sentence that says more, or null
   * @param here whether the data keys of all, some or none of its links are in memory
   * @param links the files of the links that it opens
   */
  public record Key(
      String provider,
      String keyId,
      String checkValue,
      String status,
      @Nullable String state,
      @Nullable String detail,
      String here,
      @Nullable String created,
      @Nullable String endsAt,
      List<String> disks,
      List<String> links,
      List<String> vms,
      List<String> tenants) {}

  /** All keys, and which disks could not be read for them. */
  public record Keys(List<Key> keys, List<String> problems) {
    /** What a command that shows this ends with. */
    public int exitStatus() {
      boolean warn = false;
      for (Key key : keys) {
        switch (key.status()) {
          case "available" -> {}
          case "not-active" -> warn = true;
          default -> {
            return OperationException.Code.KEY.exitStatus();
          }
        }
      }
      return warn || !problems.isEmpty() ? 1 : 0;
    }
  }

  /**
   * Whether a VM's disks could be opened after a loss.
   *
   * @param loss {@code reboot}, {@code server}, {@code provider}, {@code all-providers} or {@code
   *     host-disk}
   * @param what the server or provider that is lost, or null
   */
  public record Loss(String loss, @Nullable String what, boolean survives, String reason) {}

  /** A VM, and what it would survive. */
  public record VmLosses(String vm, List<Loss> losses) {}

  /** All VMs. */
  public record Preflight(List<VmLosses> vms) {
    /** What a command that shows this ends with: whether a reboot would cost a VM. */
    public int exitStatus() {
      return vms.stream()
              .flatMap(vm -> vm.losses().stream())
              .anyMatch(each -> each.loss().equals("reboot") && !each.survives())
          ? 1
          : 0;
    }
  }
}
