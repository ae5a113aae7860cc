package io.filterd.kmip.cert;

import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.KeyPair;
import java.security.PrivateKey;
import java.security.cert.X509Certificate;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import javax.security.auth.x500.X500Principal;

/**
 * The client's certificate for the servers of one provider, in a folder of its own: the one in use,
 * the next one while it is being made, and those that were used before.
 *
 * <pre>
 * identity.pem       in use: private key and chain
 * next.key, next.csr a key that waits for its certificate, and the request for it
 * next.pem           key and chain, complete, not in use yet
 * retired-SHA256.pem in use before; kept, for nobody knows which keys only it may read
 * </pre>
 *
 * <p>The way is always the same: a next one comes from {@link #request} and {@link #accept}, from
 * {@link #selfSigned}, or from {@link #upload}; then {@link #switchToNext} puts it in use, in one
 * step that a crash leaves done or not done. For one caller at a time.
 */
public final class IdentityFolder {
  /** Whether a certificate may be for another subject than the one it replaces. */
  public enum Subject {
    /** It must stay the same: servers know the owner of keys by it. */
    SAME,
    /** The operator knows that the servers will know the new one, too. */
    MAY_CHANGE
  }

  /** Proves that the next certificate is as good as the one in use. */
  @FunctionalInterface
  public interface Proof {
    /**
     * Uses {@code next} for something that matters: reads a key that was made under the current
     * certificate, or, when there is no such key yet, asks the server anything.
     *
     * @throws IOException if it did not work; then nothing is switched
     */
    void use(ClientIdentity next) throws IOException;
  }

  private static final Duration LONGEST_VALIDITY = Duration.ofDays(10 * 365);

  private final Path folder;
  private final Path current;
  private final Path next;
  private final Path nextKey;
  private final Path nextRequest;

  /**
   * Makes the folder if there is none.
   *
   * @throws IOException if it can't be made
   */
  public IdentityFolder(Path folder) throws IOException {
    this.folder = folder;
    this.current = folder.resolve("identity.pem");
    this.next = folder.resolve("next.pem");
    this.nextKey = folder.resolve("next.key");
    this.nextRequest = folder.resolve("next.csr");
    if (!Files.isDirectory(folder)) {
      Files.createDirectories(
          folder,
          PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
    }
  }

  /** The one in use, if there is one. */
  public Optional<ClientIdentity> current() throws IOException {
    return read(current);
  }

  /** The next one, if it is complete. */
  public Optional<ClientIdentity> next() throws IOException {
    return read(next);
  }

  private static Optional<ClientIdentity> read(Path file) throws IOException {
    return Files.exists(file)
        ? Optional.of(new ClientIdentity(KeyFiles.readKey(file), Certificates.read(file)))
        : Optional.empty();
  }

  /**
   * What is to be said about an identity: that it expires soon, that some servers may not take it.
   *
   * @throws IdentityException if no server can take it
   */
  public static List<String> warnings(ClientIdentity identity) throws IdentityException {
    return ClientCertificates.check(identity, Instant.now());
  }

  /**
   * Makes a new key (EC P-256) and a request for its certificate. Replaces a next one that is not
   * in use yet.
   *
   * @param subject such as {@code CN=filterd,O=Example}; empty: that of the one in use
   * @return the request (PKCS#10) in PEM, which is in the folder, too
   */
  public String request(String subject, Subject change) throws IOException {
    X500Principal name = subject(subject, change);
    KeyPair key = ClientCertificates.newKey();
    String request = ClientCertificates.request(key, name);
    discardNext();
    KeyFiles.write(nextKey, key.getPrivate(), List.of());
    KeyFiles.writeText(nextRequest, request);
    return request;
  }

  /**
   * Takes the certificate that was signed for the request.
   *
   * @param chain a PEM file: the key's certificate first, then its issuers if they are known
   * @return warnings
   */
  public List<String> accept(Path chain, Subject change) throws IOException {
    if (!Files.exists(nextKey)) {
      throw new IdentityException(
          nextKey + ": no key waits for a certificate (expected: a request made before)");
    }
    return prepare(KeyFiles.readKey(nextKey), Certificates.read(chain), change);
  }

  /**
   * Makes a key and a certificate that is its own issuer, which each server must be told to trust.
   *
   * @param subject as for {@link #request}
   * @param validity up to 10 years
   */
  public List<String> selfSigned(String subject, Duration validity, Subject change)
      throws IOException {
    if (!validity.isPositive() || validity.compareTo(LONGEST_VALIDITY) > 0) {
      throw new IllegalArgumentException(
          "validity: " + validity + " (expected: up to " + LONGEST_VALIDITY.toDays() + " days)");
    }
    X500Principal name = subject(subject, change);
    KeyPair key = ClientCertificates.newKey();
    return prepare(
        key.getPrivate(), List.of(ClientCertificates.selfSigned(key, name, validity)), change);
  }

  /**
   * Takes a key and a certificate that were made elsewhere.
   *
   * @param key PEM, unencrypted, without access for group and others
   * @param chain as for {@link #accept}; may be the same file
   */
  public List<String> upload(Path key, Path chain, Subject change) throws IOException {
    return prepare(KeyFiles.readKey(key), Certificates.read(chain), change);
  }

  private List<String> prepare(PrivateKey key, List<X509Certificate> chain, Subject change)
      throws IOException {
    ClientIdentity prepared = new ClientIdentity(key, chain);
    List<String> warnings = ClientCertificates.check(prepared, Instant.now());
    checkSubject(prepared.certificate().getSubjectX500Principal(), change);
    Path made = folder.resolve("next.new");
    Files.deleteIfExists(made);
    KeyFiles.write(made, key, chain);
    KeyFiles.move(made, next);
    Files.deleteIfExists(nextKey);
    Files.deleteIfExists(nextRequest);
    return warnings;
  }

  private X500Principal subject(String subject, Subject change) throws IOException {
    if (subject.isEmpty()) {
      return current()
          .map(identity -> identity.certificate().getSubjectX500Principal())
          .orElseThrow(
              () ->
                  new IdentityException("subject: none (expected: such as CN=filterd,O=Example)"));
    }
    X500Principal name = ClientCertificates.subject(subject);
    checkSubject(name, change);
    return name;
  }

  private void checkSubject(X500Principal subject, Subject change) throws IOException {
    Optional<ClientIdentity> inUse = current();
    if (change == Subject.SAME
        && inUse.isPresent()
        && !inUse.get().certificate().getSubjectX500Principal().equals(subject)) {
      throw new IdentityException(
          "client certificate: subject "
              + subject
              + " (expected: "
              + inUse.get().certificate().getSubjectX500Principal()
              + " as now, since servers know the owner of keys by it)");
    }
  }

  /**
   * Puts the next one in use, after {@code proof} has used it; the one it replaces is kept beside.
   *
   * @throws IOException if there is no next one, or the proof fails: then all is as before, and the
   *     next one still waits
   */
  public ClientIdentity switchToNext(Proof proof) throws IOException {
    ClientIdentity proven =
        next()
            .orElseThrow(
                () ->
                    new IdentityException(
                        next + ": no certificate waits (expected: one made or uploaded before)"));
    ClientCertificates.check(proven, Instant.now());
    proof.use(proven);
    Optional<ClientIdentity> replaced = current();
    if (replaced.isPresent()) {
      keep(replaced.get());
    }
    KeyFiles.move(next, current);
    return proven;
  }

  private void keep(ClientIdentity replaced) throws IOException {
    Path retired =
        folder.resolve("retired-" + Fingerprint.of(replaced.certificate()).hex() + ".pem");
    try {
      // A second name for the same file: there is no moment without the one in use.
      Files.createLink(retired, current);
    } catch (FileAlreadyExistsException e) {
      // Kept already, by a switch that was cut off here.
      return;
    }
    KeyFiles.syncFolder(retired);
  }

  /** Files of identities that were used before, in the order of their names. */
  public List<Path> retired() throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files
          .filter(file -> file.getFileName().toString().matches("retired-[0-9a-f]{64}\\.pem"))
          .sorted()
          .toList();
    }
  }

  /** Forgets a next one that is not in use yet. */
  public void discardNext() throws IOException {
    Files.deleteIfExists(next);
    Files.deleteIfExists(nextKey);
    Files.deleteIfExists(nextRequest);
  }
}
