package io.filterd.daemon;

import io.filterd.daemon.control.KmsCare;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import io.filterd.daemon.control.Requests;
import io.filterd.keys.KeyException;
import io.filterd.keys.KeyReference;
import io.filterd.keys.kmip.KmipProvider;
import io.filterd.keys.kmip.KmipSetup;
import io.filterd.kmip.cert.CertificateDetails;
import io.filterd.kmip.cert.ClientIdentity;
import io.filterd.kmip.cert.Fingerprint;
import io.filterd.kmip.cert.IdentityException;
import io.filterd.kmip.cert.IdentityFolder;
import io.filterd.kmip.cert.IdentityFolder.Subject;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/** Brings KMIP providers and their servers to trust each other, and keeps it so. */
final class KmsTrust {
  private final DaemonConfig.Keys config;
  private final KeyAccess keys;
  private final KeyUses uses;

  /** Who changes the certificates holds it: their folders are for one at a time. */
  private final ReentrantLock changes = new ReentrantLock();

  KmsTrust(DaemonConfig.Keys config, KeyAccess keys, KeyUses uses) {
    this.config = config;
    this.keys = keys;
    this.uses = uses;
  }

  /** Who does one thing with one provider's folder. */
  @FunctionalInterface
  private interface Step<R> {
    R take(String name, KmipSetup setup)
        throws KeyException, OperationException, IOException, InterruptedException;
  }

  private <R> R alone(@Nullable String provider, Step<R> step)
      throws KeyException, OperationException, IOException, InterruptedException {
    String name = provider == null ? config.defaultProvider() : provider;
    DaemonConfig.Provider known = keys.provider(name);
    if (!known.type().equals(KmipProvider.TYPE)) {
      throw new KeyException(
          KeyException.Reason.UNSUPPORTED,
          "key provider %s: type %s (expected: kmip: others have no servers to trust)"
              .formatted(name, known.type()));
    }
    changes.lockInterruptibly();
    try {
      return step.take(name, KmipSetup.of(name, known.settings()));
    } catch (IdentityException wrong) {
      throw new OperationException(Code.INVALID, String.valueOf(wrong.getMessage()), wrong);
    } finally {
      changes.unlock();
    }
  }

  private static Subject subject(boolean mayChange) {
    return mayChange ? Subject.MAY_CHANGE : Subject.SAME;
  }

  /** Makes a key, and a request for its certificate. */
  KmsCare.CertificateRequest request(KmsCare.NewCertificate asked)
      throws KeyException, OperationException, IOException, InterruptedException {
    String wanted = asked.subject() == null ? "" : asked.subject();
    return alone(
        asked.provider(),
        (name, setup) ->
            new KmsCare.CertificateRequest(
                name,
                setup.folder().resolve("next.csr").toString(),
                setup.identities().request(wanted, subject(asked.otherSubject()))));
  }

  /** Makes a key, and a certificate that is its own issuer. */
  KmsCare.Taken selfSigned(KmsCare.NewCertificate asked)
      throws KeyException, OperationException, IOException, InterruptedException {
    String wanted = asked.subject() == null ? "" : asked.subject();
    return alone(
        asked.provider(),
        (name, setup) -> {
          try {
            return taken(
                name,
                setup,
                setup
                    .identities()
                    .selfSigned(
                        wanted, Duration.ofDays(asked.days()), subject(asked.otherSubject())));
          } catch (IllegalArgumentException wrong) {
            throw new OperationException(Code.INVALID, String.valueOf(wrong.getMessage()), wrong);
          }
        });
  }

  /** Takes the certificate that was signed for the request. */
  KmsCare.Taken accept(KmsCare.GivenCertificate given)
      throws KeyException, OperationException, IOException, InterruptedException {
    return alone(
        given.provider(),
        (name, setup) ->
            taken(
                name,
                setup,
                setup.identities().accept(Path.of(given.chain()), subject(given.otherSubject()))));
  }

  /** Takes a key and a certificate that were made elsewhere. */
  KmsCare.Taken upload(KmsCare.GivenCertificate given)
      throws KeyException, OperationException, IOException, InterruptedException {
    String key = given.key();
    if (key == null) {
      throw new OperationException(Code.INVALID, "key: is missing (expected: a file's name)");
    }
    return alone(
        given.provider(),
        (name, setup) ->
            taken(
                name,
                setup,
                setup
                    .identities()
                    .upload(Path.of(key), Path.of(given.chain()), subject(given.otherSubject()))));
  }

  /** The first certificate is put in use at once: there is nothing that it could spoil. */
  private KmsCare.Taken taken(String name, KmipSetup setup, List<String> warnings)
      throws KeyException, IOException {
    if (setup.identities().current().isEmpty()) {
      setup.switchToNext(List.of());
      keys.reopen(name);
      return taken(name, setup.identities().current(), true, 0, warnings);
    }
    return taken(name, setup.identities().next(), false, 0, warnings);
  }

  private static KmsCare.Taken taken(
      String name,
      Optional<ClientIdentity> identity,
      boolean inUse,
      int keysRead,
      List<String> warnings) {
    return new KmsCare.Taken(
        name,
        result(KmipSetup.details(identity.orElseThrow().certificate())),
        inUse,
        keysRead,
        warnings);
  }

  /** Puts the next certificate in use, once it has read the keys that something needs. */
  KmsCare.Taken switchToNext(Requests.Provider asked)
      throws KeyException, OperationException, IOException, InterruptedException {
    return alone(
        asked.provider(),
        (name, setup) -> {
          List<KeyReference> needed =
              uses.keys(uses.disks()).keySet().stream()
                  .filter(key -> key.provider().equals(name))
                  .toList();
          int read = setup.switchToNext(needed);
          keys.reopen(name);
          Optional<ClientIdentity> inUse = setup.identities().current();
          return taken(name, inUse, true, read, IdentityFolder.warnings(inUse.orElseThrow()));
        });
  }

  /** Shows our certificates and those of the servers. */
  KmsCare.Certificates show(Requests.Provider asked)
      throws KeyException, OperationException, IOException, InterruptedException {
    return alone(asked.provider(), (name, setup) -> certificates(name, setup, setup.servers()));
  }

  /** Trusts the servers that show these fingerprints. */
  KmsCare.Certificates trust(KmsCare.TrustServers asked)
      throws KeyException, OperationException, IOException, InterruptedException {
    Set<Fingerprint> fingerprints = new LinkedHashSet<>();
    for (String each : asked.fingerprints()) {
      try {
        fingerprints.add(Fingerprint.parse(each));
      } catch (IllegalArgumentException wrong) {
        throw new OperationException(Code.INVALID, String.valueOf(wrong.getMessage()), wrong);
      }
    }
    return alone(
        asked.provider(),
        (name, setup) -> {
          List<KmipSetup.Server> servers = setup.trust(fingerprints);
          keys.reopen(name);
          return certificates(name, setup, servers);
        });
  }

  private static KmsCare.Certificates certificates(
      String name, KmipSetup setup, List<KmipSetup.Server> servers) throws IOException {
    return new KmsCare.Certificates(
        name,
        setup.folder().toString(),
        shown(setup.identities().current()),
        shown(setup.identities().next()),
        Files.exists(setup.folder().resolve("next.csr")),
        servers.stream().map(KmsTrust::result).toList());
  }

  private static KmsCare.@Nullable Certificate shown(Optional<ClientIdentity> identity) {
    return identity.map(each -> result(KmipSetup.details(each.certificate()))).orElse(null);
  }

  private static KmsCare.Server result(KmipSetup.Server server) {
    CertificateDetails shown = server.certificate();
    return new KmsCare.Server(
        server.address(),
        shown == null ? null : result(shown),
        server.problem(),
        server.trust().name().toLowerCase(Locale.ROOT).replace('_', '-'));
  }

  private static KmsCare.Certificate result(CertificateDetails details) {
    return new KmsCare.Certificate(
        details.subject(),
        details.issuer(),
        details.serial(),
        details.fingerprint().toString(),
        details.notBefore().toString(),
        details.notAfter().toString());
  }
}
