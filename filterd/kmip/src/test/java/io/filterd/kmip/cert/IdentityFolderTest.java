package io.filterd.kmip.cert;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.kmip.cert.IdentityFolder.Subject;
import io.filterd.kmip.server.TestPki;
import io.filterd.kmip.server.TestPki.Order;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.cert.X509Certificate;
import java.time.Duration;
import java.util.List;
import org.bouncycastle.asn1.x509.KeyPurposeId;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class IdentityFolderTest {
  private static final TestPki PKI = new TestPki("kms authority");
  private static final IdentityFolder.Proof UNPROVEN = next -> {};

  @TempDir Path temporary;

  private Path home = Path.of("");

  @BeforeEach
  void chooseHome() {
    home = temporary.resolve("kms-a");
  }

  private IdentityFolder folder() throws IOException {
    return new IdentityFolder(home);
  }

  private static String mode(Path file) throws IOException {
    return PosixFilePermissions.toString(Files.getPosixFilePermissions(file));
  }

  private Path file(ClientIdentity identity, String mode) throws IOException {
    Path file = temporary.resolve("uploaded.pem");
    Files.deleteIfExists(file);
    KeyFiles.write(file, identity.key(), identity.chain());
    Files.setPosixFilePermissions(file, PosixFilePermissions.fromString(mode));
    return file;
  }

  private List<String> upload(ClientIdentity identity) throws IOException {
    Path file = file(identity, "rw-------");
    return folder().upload(file, file, Subject.SAME);
  }

  @Test
  void takesAKeyAndItsCertificate() throws IOException {
    ClientIdentity identity =
        PKI.issue(Order.client("filterd").valid(Duration.ofDays(-1), Duration.ofDays(90)));
    assertThat(upload(identity)).isEmpty();
    assertThat(folder().current()).isEmpty();
    folder().switchToNext(UNPROVEN);
    ClientIdentity used = folder().current().orElseThrow();
    assertThat(used.chain()).isEqualTo(identity.chain());
    assertThat(used.key()).isEqualTo(identity.key());
    assertThat(folder().next()).isEmpty();
    assertThat(mode(home)).isEqualTo("rwx------");
    assertThat(mode(home.resolve("identity.pem"))).isEqualTo("rw-------");
    assertThat(used.toString()).isEqualTo("ClientIdentity[CN=filterd]");
  }

  @Test
  void makesACertificateOfItsOwn() throws IOException {
    assertThat(folder().selfSigned("CN=filterd,O=Example", Duration.ofDays(365), Subject.SAME))
        .isEmpty();
    ClientIdentity made = folder().switchToNext(UNPROVEN);
    CertificateDetails details = CertificateDetails.of(made.certificate());
    assertThat(details.subject()).isEqualTo("CN=filterd,O=Example").isEqualTo(details.issuer());
    assertThat(details.fingerprint().toString()).matches("([0-9A-F]{2}:){31}[0-9A-F]{2}");
    assertThat(Fingerprint.parse(details.fingerprint().toString()))
        .isEqualTo(details.fingerprint());
    assertThat(Duration.between(details.notBefore(), details.notAfter()))
        .isEqualTo(Duration.ofDays(365).plusHours(1));
  }

  @Test
  void keepsTheOldIdentityUntilTheNextOneIsProven() throws IOException {
    ClientIdentity first = PKI.issue(Order.client("filterd"));
    ClientIdentity second = PKI.issue(Order.client("filterd"));
    upload(first);
    folder().switchToNext(UNPROVEN);
    upload(second);
    assertThatThrownBy(
            () ->
                folder()
                    .switchToNext(
                        next -> {
                          assertThat(next.certificate()).isEqualTo(second.certificate());
                          throw new IOException("key 7: not readable");
                        }))
        .hasMessage("key 7: not readable");
    assertThat(current()).isEqualTo(first.certificate());
    assertThat(folder().next()).isPresent();
    assertThat(folder().retired()).isEmpty();

    folder().switchToNext(UNPROVEN);
    assertThat(current()).isEqualTo(second.certificate());
    assertThat(folder().retired()).hasSize(1);
    assertThat(Certificates.read(folder().retired().getFirst()).getFirst())
        .isEqualTo(first.certificate());
  }

  private X509Certificate current() throws IOException {
    return folder().current().orElseThrow().certificate();
  }

  @Test
  void keepsTheSubjectUnlessToldOtherwise() throws IOException {
    upload(PKI.issue(Order.client("filterd")));
    folder().switchToNext(UNPROVEN);
    String sentence =
        "client certificate: subject CN=other (expected: CN=filterd as now, since servers know the"
            + " owner of keys by it)";
    assertThatThrownBy(() -> upload(PKI.issue(Order.client("other")))).hasMessage(sentence);
    assertThatThrownBy(() -> folder().request("CN=other", Subject.SAME)).hasMessage(sentence);
    assertThat(folder().next()).isEmpty();
    assertThat(folder().request("", Subject.SAME)).startsWith("-----BEGIN CERTIFICATE REQUEST");
    Path other = file(PKI.issue(Order.client("other")), "rw-------");
    folder().upload(other, other, Subject.MAY_CHANGE);
    assertThat(folder().switchToNext(UNPROVEN).toString()).contains("CN=other");
  }

  @Test
  void refusesCertificatesThatNoServerCanTake() throws IOException {
    ClientIdentity good = PKI.issue(Order.client("filterd"));
    ClientIdentity other = PKI.issue(Order.client("filterd"));
    assertThatThrownBy(() -> upload(new ClientIdentity(good.key(), other.chain())))
        .hasMessage(
            "client certificate: of another key (expected: the certificate of this private key)");
    ClientIdentity old =
        PKI.issue(Order.client("filterd").valid(Duration.ofDays(-9), Duration.ofDays(-1)));
    assertThatThrownBy(() -> upload(old))
        .hasMessage(
            "client certificate: expired on "
                + old.certificate().getNotAfter().toInstant()
                + " (expected: valid now)");
    assertThatThrownBy(
            () ->
                upload(
                    PKI.issue(
                        Order.client("filterd").valid(Duration.ofDays(1), Duration.ofDays(9)))))
        .hasMessageContaining("is the clock right?");
    assertThatThrownBy(
            () -> upload(PKI.issue(Order.client("filterd").usedFor(KeyPurposeId.id_kp_serverAuth))))
        .hasMessage(
            "client certificate: extended key usage [1.3.6.1.5.5.7.3.1] (expected: clientAuth)");
    assertThatThrownBy(() -> folder().switchToNext(UNPROVEN))
        .hasMessage(
            home.resolve("next.pem")
                + ": no certificate waits (expected: one made or uploaded before)");
  }

  @Test
  void warnsOfCertificatesThatSomeServersDoNotTake() throws IOException {
    ClientIdentity odd =
        PKI.issue(
            new Order(
                "CN=filterd,CN=host-7", List.of(), Duration.ofDays(-1), Duration.ofDays(5), null));
    assertThat(upload(odd))
        .containsExactly(
            "client certificate: expires on "
                + odd.certificate().getNotAfter().toInstant()
                + "; renew it",
            "client certificate: no extended key usage; some servers take only those for"
                + " clientAuth",
            "client certificate: 2 common names in its subject; some servers take exactly one, as"
                + " the keys' owner");
  }

  @Test
  void refusesAKeyThatOthersMayRead() throws IOException {
    for (String mode : List.of("rw-r-----", "rw----r--", "rw--w----")) {
      Path file = file(PKI.issue(Order.client("filterd")), mode);
      assertThatThrownBy(() -> folder().upload(file, file, Subject.SAME))
          .hasMessage(
              file
                  + ": mode "
                  + mode
                  + " (expected: no access for group and others; run: chmod 600 "
                  + file
                  + ")");
    }
  }

  @Test
  void refusesFilesWithoutAKeyOrCertificate() throws IOException {
    Path empty =
        Files.createFile(
            temporary.resolve("empty.pem"),
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
    assertThatThrownBy(() -> folder().upload(empty, empty, Subject.SAME))
        .hasMessage(empty + ": no private key (expected: one, in PEM)");
    assertThatThrownBy(() -> Certificates.read(empty))
        .hasMessage(empty + ": no certificate (expected: at least one, in PEM)");
    Files.writeString(empty, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    assertThatThrownBy(() -> folder().upload(empty, empty, Subject.SAME))
        .hasMessage(empty + ": not readable (expected: a private key in PEM)")
        .hasNoCause();
    Files.writeString(empty, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assertThatThrownBy(() -> Certificates.read(empty))
        .hasMessage(empty + ": not readable (expected: PEM certificates)");
  }

  @Test
  void refusesSubjectsThatAreNoOwner() {
    assertThatThrownBy(() -> folder().request("", Subject.SAME))
        .hasMessage("subject: none (expected: such as CN=filterd,O=Example)");
    assertThatThrownBy(() -> folder().request("O=Example", Subject.SAME))
        .hasMessage("subject: 'O=Example' (expected: exactly one CN)");
    assertThatThrownBy(() -> folder().request("filterd", Subject.SAME))
        .hasMessage("subject: 'filterd' (expected: such as CN=filterd,O=Example)");
    assertThatThrownBy(() -> folder().accept(home.resolve("chain.pem"), Subject.SAME))
        .hasMessageContaining("no key waits for a certificate");
  }
}
