package io.filterd.daemon.cli;

import io.filterd.daemon.control.KeyCare;
import io.filterd.daemon.control.Operation;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.Requests;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code filterd provider}. */
@Command(
    name = "provider",
    description = "Set up, back up and look at key providers.",
    subcommands = {
      ProviderCommand.Init.class,
      ProviderCommand.Backup.class,
      ProviderCommand.Restore.class,
      ProviderCommand.Reseal.class,
      ProviderCommand.Status.class,
      RecryptCommands.Migrate.class,
      CertificateCommand.class,
      TrustCommand.class
    })
final class ProviderCommand {
  static final String PROVIDER_HELP =
      "The provider, as the configuration names it. Default: the default one.";

  /** {@code filterd provider init}. */
  @Command(
      name = "init",
      description = "Make a native provider's secret, sealed as the configuration says.")
  static final class Init implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Parameters(arity = "0..1", paramLabel = "PROVIDER", description = PROVIDER_HELP)
    private @Nullable String provider;

    @Override
    public Integer call() throws OperationException {
      Requests.Provider request = new Requests.Provider(provider);
      common.output().print(common.call(Operation.PROVIDER_INIT, request, "init"));
      return 0;
    }
  }

  /** What names a backup. */
  static final class BackupFile {
    @Parameters(index = "0", paramLabel = "BACKUP", description = "The backup file.")
    Path file = Path.of("");

    @Option(
        names = "--passphrase-file",
        required = true,
        paramLabel = "FILE",
        description = "Holds the passphrase of the backup; readable by its owner only.")
    Path passphraseFile = Path.of("");

    @Option(names = "--provider", paramLabel = "NAME", description = PROVIDER_HELP)
    @Nullable String provider;

    Requests.ProviderBackup request() {
      return new Requests.ProviderBackup(
          provider, Common.absolute(file), Common.absolute(passphraseFile));
    }
  }

  /** {@code filterd provider backup}. */
  @Command(
      name = "backup",
      description = {
        "Copy a native provider's secret to a backup, sealed by a passphrase of its own.",
        "Keep both away from this host: with them every disk can be opened, without them none."
      })
  static final class Backup implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Mixin private BackupFile backup = new BackupFile();

    @Override
    public Integer call() throws OperationException {
      common.output().print(common.call(Operation.PROVIDER_BACKUP, backup.request(), "backup"));
      return 0;
    }
  }

  /** {@code filterd provider restore}. */
  @Command(
      name = "restore",
      description =
          "Make a native provider's secret from a backup, sealed as the configuration says.")
  static final class Restore implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Mixin private BackupFile backup = new BackupFile();

    @Override
    public Integer call() throws OperationException {
      common.output().print(common.call(Operation.PROVIDER_RESTORE, backup.request(), "restore"));
      return 0;
    }
  }

  /** {@code filterd provider reseal}. */
  @Command(
      name = "reseal",
      description = {
        "Put a native provider's secret from under another seal under the one that the",
        "configuration names (seal: passphrase, tpm2 or systemd-creds)."
      })
  static final class Reseal implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Parameters(arity = "0..1", paramLabel = "PROVIDER", description = PROVIDER_HELP)
    private @Nullable String provider;

    @Option(
        names = "--from",
        required = true,
        paramLabel = "SEAL",
        description = "The seal that it is under now: passphrase, tpm2 or systemd-creds.")
    private String from = "";

    @Override
    public Integer call() throws OperationException {
      Requests.ProviderReseal request = new Requests.ProviderReseal(provider, from);
      common.output().print(common.call(Operation.PROVIDER_RESEAL, request, "reseal"));
      return 0;
    }
  }

  /** {@code filterd provider status}. */
  @Command(
      name = "status",
      description = "Say how the key providers are: green, yellow or red, and why.")
  static final class Status implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Option(
        names = "--probe",
        description = "Open and ask them now, instead of telling what is known.")
    private boolean probe;

    @Override
    public Integer call() throws OperationException {
      common
          .output()
          .print(
              common.call(
                  probe ? KeyCare.PROVIDER_PROBE : Operation.PROVIDER_STATUS,
                  new Requests.None(),
                  "status"));
      return 0;
    }
  }
}
