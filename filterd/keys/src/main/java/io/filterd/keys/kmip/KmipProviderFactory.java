package io.filterd.keys.kmip;

import io.filterd.crypto.SecretBytes;
import io.filterd.keys.KeyException;
import io.filterd.keys.KeyException.Reason;
import io.filterd.keys.KeyProvider;
import io.filterd.keys.KeyProviderFactory;
import io.filterd.keys.PassphraseFile;
import io.filterd.keys.ProviderStatus;
import io.filterd.kmip.Credential;
import io.filterd.kmip.cert.ClientIdentity;
import io.filterd.kmip.cert.IdentityFolder;
import io.filterd.kmip.client.KmipClient;
import io.filterd.kmip.net.ConnectionPool;
import io.filterd.kmip.net.PoolSettings;
import io.filterd.kmip.net.ServerAddress;
import io.filterd.kmip.net.ServerTrust;
import io.filterd.kmip.net.TlsSettings;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Clock;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Opens {@link KmipProvider}s. Settings: {@code servers}, names or addresses with ports (5696 if
 * none), in the order in which they are tried; {@code folder}, of the client's certificate and the
 * trusted servers; {@code serverCaFile}, the authority of the servers' certificates in PEM, instead
 * of servers trusted by hand; {@code protocols} and {@code cipherSuites} of TLS; {@code
 * connectTimeout}, {@code handshakeTimeout} and {@code answerTimeout}; {@code versions} of KMIP,
 * such as {@code 1.1-2.1}; {@code readBack}, on how many servers a new key must be: a number or
 * {@code all}; {@code labels}, whether the KMS is told what a key is for; {@code objectGroup} and
 * {@code operationPolicyName} for new keys; {@code user} and {@code passwordFile}.
 */
public final class KmipProviderFactory implements KeyProviderFactory {
  @Override
  public String type() {
    return KmipProvider.TYPE;
  }

  /** {@inheritDoc} Reads the certificate, and asks no server yet. */
  @Override
  public KeyProvider open(String name, Map<String, String> settings) throws KeyException {
    return open(name, KmipSettings.of(name, settings), Clock.systemUTC());
  }

  private static KmipProvider open(String name, KmipSettings settings, Clock clock)
      throws KeyException {
    ClientIdentity identity = identity(name, settings.folder());
    return open(name, settings, identity, clock);
  }

  /** With another certificate than the one in use: to try it before it is. */
  static KmipProvider open(String name, KmipSettings settings, ClientIdentity identity, Clock clock)
      throws KeyException {
    ServerTrust trust = settings.trust(name);
    SecretBytes password = password(settings);
    Credential credential =
        settings.user() == null || password == null
            ? null
            : new Credential(settings.user().name(), password.segment());
    List<ClusterServer> servers = new ArrayList<>();
    boolean opened = false;
    try {
      TlsSettings tls = new TlsSettings(settings.protocols(), settings.suites(), trust, identity);
      for (ServerAddress address : settings.servers()) {
        ConnectionPool pool =
            new ConnectionPool(address, tls, settings.timeouts(), PoolSettings.defaults());
        servers.add(
            new ClusterServer(name, new KmipClient(pool, settings.versions(), credential), clock));
      }
      List<Path> files = new ArrayList<>();
      files.add(settings.folder());
      if (settings.serverCa() != null) {
        files.add(settings.serverCa());
      }
      KmipProvider provider =
          new KmipProvider(
              name, new Cluster(name, servers), settings, identity, files, password, clock);
      opened = true;
      return provider;
    } catch (IOException unreadable) {
      throw new KeyException(
          Reason.UNAVAILABLE, "key provider " + name + ": " + unreadable.getMessage(), unreadable);
    } catch (IllegalArgumentException wrong) {
      throw new KeyException(
          Reason.PROTOCOL, "key provider " + name + ": " + wrong.getMessage(), wrong);
    } finally {
      if (!opened) {
        servers.forEach(ClusterServer::close);
        if (password != null) {
          password.close();
        }
      }
    }
  }

  private static @Nullable SecretBytes password(KmipSettings settings) throws KeyException {
    KmipSettings.User user = settings.user();
    return user == null ? null : PassphraseFile.read("password file", user.passwordFile());
  }

  private static ClientIdentity identity(String name, Path folder) throws KeyException {
    try {
      return new IdentityFolder(folder)
          .current()
          .orElseThrow(
              () ->
                  new KeyException(
                      Reason.DENIED,
                      "key provider %s has no certificate to show its servers: make one with `filterd provider certificate request %s`"
                          .formatted(name, name)));
    } catch (IOException unreadable) {
      throw new KeyException(
          Reason.DENIED, "key provider " + name + ": " + unreadable.getMessage(), unreadable);
    }
  }

  /**
   * {@inheritDoc} Without asking the servers: that their settings and the certificate are there.
   */
  @Override
  public ProviderStatus inspect(String name, Map<String, String> settings) {
    try (KeyProvider provider = open(name, settings)) {
      return provider.status();
    } catch (KeyException failure) {
      return new ProviderStatus(
          name,
          KmipProvider.TYPE,
          ProviderStatus.State.UNAVAILABLE,
          List.of(String.valueOf(failure.getMessage())));
    }
  }
}
