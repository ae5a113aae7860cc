package io.filterd.nbd;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;
import org.jspecify.annotations.Nullable;

/**
 * An authority and its certificates, made by openssl. The names of the files are those that libnbd
 * and qemu look for in a folder.
 */
final class TestPki {
  private static final char[] PASSWORD = "only-for-tests".toCharArray();

  private final Path folder;
  private final Path log;

  /** Makes an authority in a folder, and a certificate for a server and a client called alice. */
  TestPki(Path folder) throws IOException {
    this.folder = Files.createDirectories(folder);
    this.log = folder.resolve("log");
    openssl(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout"
            + " ca-key.pem -out ca-cert.pem -subj /CN=authority -addext keyUsage=keyCertSign");
    issue("server", "localhost", "rsa:2048", "serverAuth");
    issue("client", "alice", "ec -pkeyopt ec_paramgen_curve:prime256v1", "clientAuth");
  }

  /** Makes NAME-key.pem and NAME-cert.pem, or replaces them, one after the other. */
  void issue(String name, String subject, String kind, String use) throws IOException {
    Path extensions = folder.resolve(name + ".extensions");
    Files.writeString(
        extensions,
        "subjectAltName=DNS:%s,IP:127.0.0.1\nextendedKeyUsage=%s\n".formatted(subject, use));
    openssl(
        "req -newkey %s -nodes -keyout %s-key.pem -out request.pem -subj /CN=%s"
            .formatted(kind, name, subject));
    openssl(
        "x509 -req -in request.pem -CA ca-cert.pem -CAkey ca-key.pem -CAcreateserial -days 2 -extfile"
            + " %s.extensions -out %s-cert.pem".formatted(name, name));
  }

  /** Runs openssl with these words, in the folder. */
  void openssl(String words) throws IOException {
    Process process =
        new ProcessBuilder(("openssl " + words).split(" "))
            .directory(folder.toFile())
            .redirectErrorStream(true)
            .redirectOutput(log.toFile())
            .start();
    try {
      assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
    } catch (InterruptedException stop) {
      Thread.currentThread().interrupt();
      throw new IOException("openssl was interrupted", stop);
    }
    assertThat(process.exitValue()).as(Files.readString(log)).isZero();
  }

  Path file(String name) {
    return folder.resolve(name);
  }

  /** What a server needs; {@code mutual} also demands certificates of clients. */
  Tls.Certificates server(boolean mutual) {
    return new Tls.Certificates(
        file("server-cert.pem"), file("server-key.pem"), mutual ? file("ca-cert.pem") : null);
  }

  /** Writes a file of keys that only its owner may read. */
  Path keys(String lines) throws IOException {
    Path keys = file("keys.psk");
    Files.deleteIfExists(keys);
    Files.createFile(
        keys, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
    return Files.writeString(keys, lines);
  }

  X509Certificate certificate(String name) throws IOException, GeneralSecurityException {
    try (InputStream in = Files.newInputStream(file(name + "-cert.pem"))) {
      return (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(in);
    }
  }

  /** A client that trusts the authority, and has this certificate, or none. */
  SSLContext client(@Nullable String name) throws IOException, GeneralSecurityException {
    KeyStore trusted = KeyStore.getInstance("PKCS12");
    trusted.load(null, null);
    trusted.setCertificateEntry("authority", certificate("ca"));
    TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
    trust.init(trusted);
    KeyManager[] own = null;
    if (name != null) {
      openssl(
          "pkcs12 -export -in %s-cert.pem -inkey %s-key.pem -out %s.p12 -passout pass:%s"
              .formatted(name, name, name, new String(PASSWORD)));
      KeyStore store = KeyStore.getInstance("PKCS12");
      try (InputStream in = Files.newInputStream(file(name + ".p12"))) {
        store.load(in, PASSWORD);
      }
      KeyManagerFactory keys = KeyManagerFactory.getInstance("PKIX");
      keys.init(store, PASSWORD);
      own = keys.getKeyManagers();
    }
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(own, trust.getTrustManagers(), null);
    return context;
  }
}
