package io.filterd.daemon.cli;

import io.filterd.daemon.control.KmsCare;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.Requests;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code filterd provider certificate}. */
@Command(
    name = "certificate",
    description = {
      "Make, take, renew and look at the certificate that a KMIP provider shows its servers.",
      "The first one is in use at once. Another one waits until `switch`, which proves it first."
    },
    subcommands = {
      CertificateCommand.Request.class,
      CertificateCommand.SelfSigned.class,
      CertificateCommand.Accept.class,
      CertificateCommand.Upload.class,
      CertificateCommand.Switch.class,
      CertificateCommand.Show.class
    })
final class CertificateCommand {
  /** Whose certificate it may be. */
  static final class Owner {
    @Option(
        names = "--allow-other-subject",
        description = {
          "Let the subject be another than that of the certificate in use. Many servers know the"
              + " owner of keys by it."
        })
    boolean otherSubject;
  }

  /** For whom a certificate is made. */
  static final class Names {
    @Option(
        names = "--subject",
        paramLabel = "NAME",
        description =
            "Such as CN=filterd,O=Example, with one CN. Default: that of the certificate in use.")
    @Nullable String subject;

    @Mixin Owner owner = new Owner();

    KmsCare.NewCertificate request(@Nullable String provider, int days) {
      return new KmsCare.NewCertificate(provider, subject, owner.otherSubject, days);
    }
  }

  /** {@code filterd provider certificate request}. */
  @Command(
      name = "request",
      description = {
        "Make a key, and print the request (PKCS#10, PEM) for its certificate.",
        "Have it signed for the use clientAuth, then `accept` the certificate."
      })
  static final class Request implements Callable<Integer> {
    @Mixin private Common common = new Common();
    @Mixin private Names names = new Names();

    @Spec private @Nullable CommandSpec spec;

    @Parameters(
        arity = "0..1",
        paramLabel = "PROVIDER",
        description = ProviderCommand.PROVIDER_HELP)
    private @Nullable String provider;

    @Override
    public Integer call() throws OperationException {
      KmsCare.CertificateRequest made =
          common.call(KmsCare.CERTIFICATE_REQUEST, names.request(provider, 0), "request");
      if (!common.output().printedAsJson(made)) {
        common.out().print(made.pem());
        common.out().flush();
        if (spec != null) {
          // Not among what is redirected to a file.
          spec.commandLine()
              .getErr()
              .println(
                  "It is in "
                      + made.file()
                      + ", too. Have it signed for clientAuth, then: filterd provider certificate"
                      + " accept FILE "
                      + made.provider());
        }
      }
      return 0;
    }
  }

  /** {@code filterd provider certificate self-signed}. */
  @Command(
      name = "self-signed",
      description = "Make a key and a certificate of its own, which each server must be told.")
  static final class SelfSigned implements Callable<Integer> {
    @Mixin private Common common = new Common();
    @Mixin private Names names = new Names();

    @Option(
        names = "--days",
        paramLabel = "N",
        defaultValue = "365",
        description = "How long it is valid: up to 3650 days. Default: ${DEFAULT-VALUE}.")
    private int days;

    @Parameters(
        arity = "0..1",
        paramLabel = "PROVIDER",
        description = ProviderCommand.PROVIDER_HELP)
    private @Nullable String provider;

    @Override
    public Integer call() throws OperationException {
      new KmsOutput(common)
          .print(
              common.call(
                  KmsCare.CERTIFICATE_SELF_SIGNED, names.request(provider, days), "self-signed"));
      return 0;
    }
  }

  /** {@code filterd provider certificate accept}. */
  @Command(name = "accept", description = "Take the certificate that was signed for the request.")
  static final class Accept implements Callable<Integer> {
    @Mixin private Common common = new Common();
    @Mixin private Owner owner = new Owner();

    @Parameters(
        index = "0",
        paramLabel = "FILE",
        description = "The certificate in PEM, its issuers behind it.")
    private Path chain = Path.of("");

    @Parameters(
        index = "1",
        arity = "0..1",
        paramLabel = "PROVIDER",
        description = ProviderCommand.PROVIDER_HELP)
    private @Nullable String provider;

    @Override
    public Integer call() throws OperationException {
      KmsCare.GivenCertificate given =
          new KmsCare.GivenCertificate(provider, null, Common.absolute(chain), owner.otherSubject);
      new KmsOutput(common).print(common.call(KmsCare.CERTIFICATE_ACCEPT, given, "accept"));
      return 0;
    }
  }

  /** {@code filterd provider certificate upload}. */
  @Command(name = "upload", description = "Take a key and a certificate that were made elsewhere.")
  static final class Upload implements Callable<Integer> {
    @Mixin private Common common = new Common();
    @Mixin private Owner owner = new Owner();

    @Option(
        names = "--key",
        required = true,
        paramLabel = "FILE",
        description = "The private key in PEM, not encrypted; readable by its owner only.")
    private Path key = Path.of("");

    @Option(
        names = "--certificate",
        required = true,
        paramLabel = "FILE",
        description = "The certificate in PEM, its issuers behind it.")
    private Path chain = Path.of("");

    @Parameters(
        arity = "0..1",
        paramLabel = "PROVIDER",
        description = ProviderCommand.PROVIDER_HELP)
    private @Nullable String provider;

    @Override
    public Integer call() throws OperationException {
      KmsCare.GivenCertificate given =
          new KmsCare.GivenCertificate(
              provider, Common.absolute(key), Common.absolute(chain), owner.otherSubject);
      new KmsOutput(common).print(common.call(KmsCare.CERTIFICATE_UPLOAD, given, "upload"));
      return 0;
    }
  }

  /** {@code filterd provider certificate switch}. */
  @Command(
      name = "switch",
      description = {
        "Put the next certificate in use, once it has read every key that disks and VMs need.",
        "If it can't, the one in use stays, and this ends with 5."
      })
  static final class Switch implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Parameters(
        arity = "0..1",
        paramLabel = "PROVIDER",
        description = ProviderCommand.PROVIDER_HELP)
    private @Nullable String provider;

    @Override
    public Integer call() throws OperationException {
      new KmsOutput(common)
          .print(
              common.call(KmsCare.CERTIFICATE_SWITCH, new Requests.Provider(provider), "switch"));
      return 0;
    }
  }

  /** {@code filterd provider certificate show}. */
  @Command(
      name = "show",
      description = "Show our certificates, and those that the servers show now.")
  static final class Show implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Parameters(
        arity = "0..1",
        paramLabel = "PROVIDER",
        description = ProviderCommand.PROVIDER_HELP)
    private @Nullable String provider;

    @Override
    public Integer call() throws OperationException {
      new KmsOutput(common)
          .print(common.call(KmsCare.CERTIFICATE_SHOW, new Requests.Provider(provider), "show"));
      return 0;
    }
  }
}
