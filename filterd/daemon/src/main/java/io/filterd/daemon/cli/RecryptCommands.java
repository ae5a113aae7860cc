package io.filterd.daemon.cli;

import io.filterd.daemon.control.KeyOperations;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import io.filterd.daemon.control.Results;
import java.io.Console;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** The commands that give disks new key-encryption keys, and end old ones. */
final class RecryptCommands {
  private static final String KEY_HELP =
      "The key, as `filterd disk info` shows it with its provider in front.";

  private RecryptCommands() {}

  /** {@code filterd key recrypt}. */
  @Command(
      name = "recrypt",
      description = {
        "Give disks new key-encryption keys, with all their snapshots, also while they are in use.",
        "Data and data keys stay as they are, so this takes moments. The new key is one for all"
            + " disks of a VM, or one for each, as their policies say. Old keys are not destroyed.",
        "The exit code is 0 if every disk has its new key, else that of the first failure."
      },
      footer = {
        "",
        "Examples:",
        "  filterd key recrypt vm1",
        "  filterd key recrypt vm1/disk0 --to kms",
        "  filterd key recrypt --key kms/51dc2a4e",
        "  filterd key recrypt --resume"
      })
  static final class Recrypt implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @ArgGroup(exclusive = true, multiplicity = "1")
    private Which which = new Which();

    @Option(
        names = "--to",
        paramLabel = "PROVIDER",
        description = "Who makes the new keys. Default: the provider of each disk's present key.")
    private @Nullable String to;

    /** The disks. */
    static final class Which {
      @Parameters(
          paramLabel = "VM[/DISK]",
          arity = "0..1",
          description = "A VM with all its disks, or one disk.")
      private @Nullable String target;

      @Option(
          names = "--key",
          paramLabel = "PROVIDER/KEYID",
          description = "All disks that use this key.")
      private @Nullable String key;

      @Option(
          names = "--provider",
          paramLabel = "NAME",
          description = "All disks that use keys of this provider.")
      private @Nullable String provider;

      @Option(
          names = "--resume",
          description = "Go on with a recrypt that was stopped, or of which some disks failed.")
      private boolean resume;

      @Option(
          names = "--abandon",
          description = "Forget that a recrypt is not finished. Every disk opens as it is.")
      private boolean abandon;
    }

    @Override
    public Integer call() throws OperationException {
      return recrypt(
          common,
          request(which.target, which.key, which.provider, to, which.resume, which.abandon));
    }
  }

  private static KeyOperations.Recrypt request(
      @Nullable String target,
      @Nullable String key,
      @Nullable String provider,
      @Nullable String to,
      boolean resume,
      boolean abandon)
      throws OperationException {
    try {
      return new KeyOperations.Recrypt(target, key, provider, to, resume, abandon);
    } catch (IllegalArgumentException wrong) {
      throw new OperationException(Code.INVALID, String.valueOf(wrong.getMessage()), wrong);
    }
  }

  private static int recrypt(Common common, KeyOperations.Recrypt request)
      throws OperationException {
    KeyOperations.Recrypted done =
        common.count(KeyOperations.KEY_RECRYPT, request, "recrypt", "links");
    new RecryptOutput(common).print(done);
    return done.exitStatus();
  }

  /** {@code filterd provider migrate}. */
  @Command(
      name = "migrate",
      description = {
        "Give all disks of a key provider new keys of another one: a recrypt of those disks.",
        "Afterwards the first provider is needed by none of them. Let the policies and the"
            + " configuration's default name the other one for new disks."
      },
      footer = {"", "Example: filterd provider migrate native kms"})
  static final class Migrate implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Parameters(index = "0", paramLabel = "FROM", description = "The provider to be left.")
    private String from = "";

    @Parameters(index = "1", paramLabel = "TO", description = "The provider of the new keys.")
    private String to = "";

    @Override
    public Integer call() throws OperationException {
      if (from.equals(to)) {
        throw new OperationException(
            Code.INVALID,
            "both providers are "
                + to
                + " (expected: two; for new keys of one see `filterd key"
                + " recrypt --provider`)");
      }
      return recrypt(common, request(null, null, from, to, false, false));
    }
  }

  /** {@code filterd key uses}. */
  @Command(name = "uses", description = "Say which disks and snapshots name a key, or may.")
  static final class Uses implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Parameters(paramLabel = "PROVIDER/KEYID", description = KEY_HELP)
    private String key = "";

    @Override
    public Integer call() throws OperationException {
      new RecryptOutput(common).print(uses(common, key));
      return 0;
    }
  }

  private static KeyOperations.KeyUses uses(Common common, String key) throws OperationException {
    return common.call(KeyOperations.KEY_USES, new KeyOperations.Key(key), "uses");
  }

  /** {@code filterd key revoke}. */
  @Command(
      name = "revoke",
      description = {
        "End the use of a key for new data keys, at its provider. What it has wrapped still opens.",
        "Refused while a disk, a snapshot or a recrypt names the key."
      })
  static final class Revoke implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Parameters(paramLabel = "PROVIDER/KEYID", description = KEY_HELP)
    private String key = "";

    @Option(names = "--force", description = "Do it though something names the key.")
    private boolean force;

    @Override
    public Integer call() throws OperationException {
      Results.Done done =
          common.call(
              KeyOperations.KEY_REVOKE, new KeyOperations.EndKey(key, force, null), "revoke");
      common.output().print(done);
      return 0;
    }
  }

  /** {@code filterd key destroy}. */
  @Command(
      name = "destroy",
      description = {
        "Destroy a key at its provider. What only it opens is lost for ever.",
        "Refused while a disk, a snapshot or a recrypt names the key, or a disk that can't be read"
            + " may do so."
      },
      footer = {
        "",
        "Backups and copies of disks are not looked at: a disk that is restored from a backup needs"
            + " the keys of its time."
      })
  static final class Destroy implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Parameters(paramLabel = "PROVIDER/KEYID", description = KEY_HELP)
    private String key = "";

    @Option(
        names = "--force",
        description = "Do it though something names the key: shows what, and asks.")
    private boolean force;

    @Option(
        names = "--yes-destroy",
        paramLabel = "N",
        description =
            "For scripts, with --force: how many things name the key, in place of asking.")
    private @Nullable Integer count;

    @Override
    public Integer call() throws OperationException {
      Integer confirmed = force ? confirmed() : null;
      Results.Done done =
          common.call(
              KeyOperations.KEY_DESTROY,
              new KeyOperations.EndKey(key, force, confirmed),
              "destroy");
      common.output().print(done);
      return 0;
    }

    @SuppressWarnings("SystemConsoleNull") // It is null still, where the input is no terminal.
    private int confirmed() throws OperationException {
      if (count != null) {
        return count;
      }
      KeyOperations.KeyUses uses = uses(common, key);
      Console console = System.console();
      if (console == null || !console.isTerminal()) {
        throw new OperationException(
            Code.INVALID,
            "no terminal to ask on: confirm with --yes-destroy "
                + uses.uses().size()
                + ", the number of things that name the key or may:",
            uses.uses().stream().map(RecryptOutput::text).toList());
      }
      new RecryptOutput(common).print(uses);
      String typed = console.readLine("Type the key to destroy it: ");
      if (!key.equals(typed)) {
        throw new OperationException(Code.CANCELLED, "not confirmed: nothing was destroyed");
      }
      return uses.uses().size();
    }
  }
}
