package io.filterd.daemon.cli;

import io.filterd.daemon.control.KeyCare;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import io.filterd.daemon.control.Requests;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code filterd key}. */
@Command(
    name = "key",
    description = "Look at keys, lock and unlock disks, replace and end keys.",
    subcommands = {
      KeyCommand.Status.class,
      KeyCommand.Lock.class,
      KeyCommand.Unlock.class,
      KeyCommand.Preflight.class,
      RecryptCommands.Recrypt.class,
      RecryptCommands.Uses.class,
      RecryptCommands.Revoke.class,
      RecryptCommands.Destroy.class
    })
final class KeyCommand {
  private static final String TARGET_HELP = "A VM, with all its disks, or one disk: VM/DISK.";

  /** {@code filterd key status}. */
  @Command(
      name = "status",
      description = {
        "Say of every key that a disk, a snapshot, a VM or a tenant names whether it can be had.",
        "The providers are asked. Ends with 1 if there are only warnings, with 5 if a key can't be"
            + " had."
      })
  static final class Status implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Override
    public Integer call() throws OperationException {
      KeyCare.Keys keys = common.call(KeyCare.KEY_STATUS, new Requests.None(), "status");
      new KeyOutput(common.out(), common.json()).print(keys);
      return keys.exitStatus();
    }
  }

  /** {@code filterd key lock}. */
  @Command(
      name = "lock",
      description = {
        "Make a VM or a disk unreadable now, also after a restart, until it is unlocked.",
        "Clients are cut off: what is under way has nbd.drainTimeout to finish. Then the data keys"
            + " are wiped."
      })
  static final class Lock implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Parameters(paramLabel = "VM|VM/DISK", description = TARGET_HELP)
    private String target = "";

    @Override
    public Integer call() throws OperationException {
      KeyCare.DiskStates states = common.call(KeyCare.KEY_LOCK, new KeyCare.Target(target), target);
      new KeyOutput(common.out(), common.json()).print(states);
      return 0;
    }
  }

  /** {@code filterd key unlock}. */
  @Command(
      name = "unlock",
      description = {
        "Take `key lock` back, and fetch the keys of locked disks now instead of at the next try.",
        "Ends with 5 if a disk is still locked."
      })
  static final class Unlock implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Parameters(arity = "0..1", paramLabel = "VM|VM/DISK", description = TARGET_HELP)
    private @Nullable String target;

    @Option(names = "--all", description = "All disks that there are.")
    private boolean all;

    @Override
    public Integer call() throws OperationException {
      if (all == (target != null)) {
        throw new OperationException(Code.INVALID, "what to unlock: name a VM or a disk, or --all");
      }
      KeyCare.DiskStates states =
          common.call(KeyCare.KEY_UNLOCK, new KeyCare.Target(target), "unlock");
      new KeyOutput(common.out(), common.json()).print(states);
      return states.unlockExitStatus();
    }
  }

  /** {@code filterd key preflight}. */
  @Command(
      name = "preflight",
      description = {
        "Say which VMs could be opened again after a reboot, after the loss of each server and each"
            + " key provider, of all of them, and of this host's disk.",
        "Every key is asked for. Disks that are attached go on without their providers. Ends with 1"
            + " if a VM would not survive a reboot."
      })
  static final class Preflight implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Override
    public Integer call() throws OperationException {
      KeyCare.Preflight preflight =
          common.call(KeyCare.KEY_PREFLIGHT, new Requests.None(), "preflight");
      new KeyOutput(common.out(), common.json()).print(preflight);
      return preflight.exitStatus();
    }
  }
}
