package io.filterd.keys.kmip;

import io.filterd.keys.KeyException;
import io.filterd.keys.KeyException.Reason;
import io.filterd.keys.KeyReference;
import io.filterd.keys.ProviderNeeds;
import io.filterd.keys.ProviderStatus;
import io.filterd.keys.ProviderStatus.Health;
import io.filterd.kmip.cert.CertificateDetails;
import io.filterd.kmip.cert.ClientIdentity;
import io.filterd.kmip.cert.Fingerprint;
import io.filterd.kmip.cert.IdentityFolder;
import io.filterd.kmip.net.CertificateViewer;
import io.filterd.kmip.net.ServerAddress;
import io.filterd.kmip.net.TransportException;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Clock;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * Sets up what a KMIP provider and its servers trust each other by, before the provider can be
 * opened and whenever a certificate is renewed. For one caller at a time.
 */
public final class KmipSetup {
  private final String name;
  private final KmipSettings settings;
  private final IdentityFolder identities;

  private KmipSetup(String name, KmipSettings settings, IdentityFolder identities) {
    this.name = name;
    this.settings = settings;
    this.identities = identities;
  }

  /**
   * Of the provider with these settings; makes its folder if there is none.
   *
   * @throws KeyException with {@code PROTOCOL} for a setting that is missing, unknown or wrong
   * @throws IOException if the folder can't be made
   */
  public static KmipSetup of(String name, Map<String, String> settings)
      throws KeyException, IOException {
    KmipSettings parsed = KmipSettings.of(name, settings);
    return new KmipSetup(name, parsed, new IdentityFolder(parsed.folder()));
  }

  /** The client's certificates. Those in use are switched by {@link #switchToNext}. */
  public IdentityFolder identities() {
    return identities;
  }

  /** Where the certificates and the trusted servers are. */
  public Path folder() {
    return settings.folder();
  }

  /** Why a server is believed, or not. */
  public enum Trust {
    /** An operator has trusted this very certificate. */
    PINNED,
    /** It is, if the authority of the configuration has signed it; asking it will tell. */
    BY_AUTHORITY,
    /** Not yet. */
    NONE
  }

  /**
   * A server and the certificate that it shows now. Its texts are the server's, but printable.
   *
   * @param certificate null if it could not be looked at
   * @param problem why it could not, or null
   */
  public record Server(
      String address,
      @Nullable CertificateDetails certificate,
      @Nullable String problem,
      Trust trust) {}

  /** Looks at the certificates of all servers, in their order and at once; believes none. */
  public List<Server> servers() throws KeyException, InterruptedException {
    Set<Fingerprint> trusted = settings.serverCa() == null ? settings.trusted() : Set.of();
    Server[] seen = new Server[settings.servers().size()];
    List<Thread> threads = new ArrayList<>();
    for (int i = 0; i < seen.length; i++) {
      int index = i;
      threads.add(
          Thread.ofVirtual()
              .start(() -> seen[index] = look(settings.servers().get(index), trusted)));
    }
    for (Thread thread : threads) {
      thread.join();
    }
    return List.of(seen);
  }

  private Server look(ServerAddress address, Set<Fingerprint> trusted) {
    Trust otherwise = settings.serverCa() == null ? Trust.NONE : Trust.BY_AUTHORITY;
    try {
      CertificateDetails shown =
          details(
              CertificateViewer.fetch(address, settings.protocols(), settings.timeouts())
                  .getFirst());
      return new Server(
          address.toString(),
          shown,
          null,
          trusted.contains(shown.fingerprint()) ? Trust.PINNED : otherwise);
    } catch (TransportException | IllegalArgumentException unseen) {
      return new Server(address.toString(), null, String.valueOf(unseen.getMessage()), otherwise);
    }
  }

  /** What is to be shown of a certificate; a server's may hold whatever it likes. */
  public static CertificateDetails details(java.security.cert.X509Certificate certificate) {
    CertificateDetails raw = CertificateDetails.of(certificate);
    return new CertificateDetails(
        ClusterServer.printable(raw.subject()),
        ClusterServer.printable(raw.issuer()),
        raw.serial(),
        raw.fingerprint(),
        raw.notBefore(),
        raw.notAfter());
  }

  /**
   * Trusts the servers that show these certificates now.
   *
   * @param fingerprints what an operator has compared
   * @return the servers as they are trusted then
   * @throws KeyException with {@code DENIED}, and nothing is changed, if no server shows one of
   *     them; with {@code UNSUPPORTED} if an authority is trusted instead
   */
  public List<Server> trust(Set<Fingerprint> fingerprints)
      throws KeyException, IOException, InterruptedException {
    if (settings.serverCa() != null) {
      throw new KeyException(
          Reason.UNSUPPORTED,
          "key provider %s: its servers are trusted by serverCaFile %s (expected: none, to trust them by their fingerprints)"
              .formatted(name, settings.serverCa()));
    }
    List<Server> servers = servers();
    Map<Fingerprint, String> notes = new LinkedHashMap<>();
    for (Fingerprint each : fingerprints) {
      String address =
          servers.stream()
              .filter(server -> shows(server, each))
              .map(Server::address)
              .findFirst()
              .orElseThrow(() -> shownByNone(each, servers));
      notes.put(each, address);
    }
    settings.trustedServers().add(notes);
    return servers.stream()
        .map(
            server ->
                notes.keySet().stream().anyMatch(each -> shows(server, each))
                    ? new Server(server.address(), server.certificate(), null, Trust.PINNED)
                    : server)
        .toList();
  }

  private static boolean shows(Server server, Fingerprint fingerprint) {
    CertificateDetails shown = server.certificate();
    return shown != null && shown.fingerprint().equals(fingerprint);
  }

  private KeyException shownByNone(Fingerprint fingerprint, List<Server> servers) {
    return new KeyException(
        Reason.DENIED,
        "key provider %s: no server shows a certificate with the fingerprint %s, so none is trusted: %s"
            .formatted(
                name,
                fingerprint,
                servers.stream()
                    .map(
                        server ->
                            server.address()
                                + " "
                                + Optional.ofNullable(server.certificate())
                                    .map(shown -> "shows " + shown.fingerprint())
                                    .orElse("can't be asked: " + server.problem()))
                    .collect(Collectors.joining("; "))));
  }

  /**
   * Puts the next certificate in use. If there is one in use, the next one must be as good first:
   * no server refuses it that takes the other, and it reads every key that the other can read.
   *
   * @param keys those that something needs, of this provider
   * @return how many of them it has read
   * @throws KeyException if it is not as good, or that can't be found out now; then the one in use
   *     stays, and the next one waits
   * @throws IOException if there is no next one, or the files can't be changed
   */
  public int switchToNext(Collection<KeyReference> keys) throws KeyException, IOException {
    int[] read = {0};
    try {
      var _ =
          identities.switchToNext(
              next -> {
                try {
                  read[0] = prove(next, keys);
                } catch (KeyException failed) {
                  throw new IOException(failed.getMessage(), failed);
                }
              });
      return read[0];
    } catch (IOException failed) {
      if (failed.getCause() instanceof KeyException unproven) {
        throw unproven;
      }
      throw failed;
    }
  }

  private int prove(ClientIdentity next, Collection<KeyReference> keys)
      throws KeyException, IOException {
    Optional<ClientIdentity> inUse = identities.current();
    if (inUse.isEmpty()) {
      return 0;
    }
    Clock clock = Clock.systemUTC();
    try (KmipProvider by = KmipProviderFactory.open(name, settings, next, clock);
        KmipProvider before = KmipProviderFactory.open(name, settings, inUse.get(), clock)) {
      checkServers(by.probe(), before.probe());
      int read = 0;
      for (KeyReference key : keys) {
        try {
          by.open(key).close();
          read++;
        } catch (KeyException refused) {
          if (refused.reason() == Reason.UNAVAILABLE || canOpen(before, key)) {
            throw unproven(refused.reason(), refused.getMessage(), refused);
          }
        }
      }
      if (read == 0 && !keys.isEmpty()) {
        throw unproven(
            Reason.DENIED, "it reads none of " + keys.size() + " keys (expected: one)", null);
      }
      return read;
    }
  }

  private void checkServers(ProviderStatus by, ProviderStatus before) throws KeyException {
    Map<String, Health> inUse =
        before.needs().servers().stream()
            .collect(Collectors.toMap(ProviderNeeds.Server::name, ProviderNeeds.Server::health));
    boolean one = false;
    for (ProviderNeeds.Server server : by.needs().servers()) {
      if (server.health() != Health.RED) {
        one = true;
      } else if (inUse.get(server.name()) != Health.RED) {
        throw unproven(Reason.DENIED, server.detail(), null);
      }
    }
    if (!one) {
      throw unproven(Reason.UNAVAILABLE, String.join(" ", by.details()), null);
    }
  }

  private static boolean canOpen(KmipProvider provider, KeyReference key) {
    try {
      provider.open(key).close();
      return true;
    } catch (KeyException cannot) {
      return false;
    }
  }

  private KeyException unproven(Reason reason, @Nullable String why, @Nullable KeyException cause) {
    return new KeyException(
        reason,
        "key provider %s: the next certificate is not proven, and the one in use stays: %s"
            .formatted(name, why),
        cause);
  }
}
