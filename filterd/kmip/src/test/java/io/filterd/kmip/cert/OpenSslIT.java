package io.filterd.kmip.cert;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.kmip.cert.IdentityFolder.Subject;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What we make is read by openssl, and what openssl makes is read by us. */
class OpenSslIT {
  @TempDir Path folder;

  private String openssl(String... arguments) throws IOException, InterruptedException {
    Path output = folder.resolve("output");
    List<String> command = new ArrayList<>(List.of("openssl"));
    command.addAll(List.of(arguments));
    int status =
        new ProcessBuilder(command)
            .directory(folder.toFile())
            .redirectErrorStream(true)
            .redirectOutput(output.toFile())
            .start()
            .waitFor();
    String text = Files.readString(output);
    assertThat(status).as(String.join(" ", command) + "\n" + text).isZero();
    return text;
  }

  @Test
  void opensslSignsARequest() throws IOException, InterruptedException {
    IdentityFolder identities = new IdentityFolder(folder.resolve("kms"));
    identities.request("CN=filterd,O=Example", Subject.SAME);
    assertThat(openssl("req", "-in", "kms/next.csr", "-noout", "-text", "-verify"))
        .contains("verify OK")
        .contains("Subject: O = Example, CN = filterd")
        .contains("TLS Web Client Authentication")
        .contains("ASN1 OID: prime256v1");
    openssl(
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        "ca.key",
        "-out",
        "ca.crt",
        "-subj",
        "/CN=authority",
        "-days",
        "90");
    openssl(
        "x509",
        "-req",
        "-in",
        "kms/next.csr",
        "-CA",
        "ca.crt",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-copy_extensions",
        "copy",
        "-days",
        "90",
        "-out",
        "client.crt");
    assertThat(identities.accept(folder.resolve("client.crt"), Subject.SAME)).isEmpty();
    identities.switchToNext(next -> {});
    assertThat(openssl("verify", "-purpose", "sslclient", "-CAfile", "ca.crt", "kms/identity.pem"))
        .contains("OK");
    CertificateDetails details =
        CertificateDetails.of(identities.current().orElseThrow().certificate());
    assertThat(
            openssl(
                "x509", "-in", "kms/identity.pem", "-noout", "-fingerprint", "-sha256", "-serial"))
        .contains(details.fingerprint().toString())
        .contains("serial=" + details.serial());
  }

  @Test
  void opensslReadsACertificateOfOurOwn() throws IOException, InterruptedException {
    IdentityFolder identities = new IdentityFolder(folder.resolve("kms"));
    identities.selfSigned("CN=filterd", Duration.ofDays(90), Subject.SAME);
    assertThat(
            openssl("verify", "-purpose", "sslclient", "-CAfile", "kms/next.pem", "kms/next.pem"))
        .contains("OK");
    assertThat(openssl("pkey", "-in", "kms/next.pem", "-check", "-noout")).contains("valid");
  }

  @Test
  void takesKeysInAllFormsOfOpenssl() throws IOException, InterruptedException {
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384", "-out", "ec.pem");
    openssl("ec", "-in", "ec.pem", "-out", "sec1.pem");
    openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "rsa.pem");
    openssl("rsa", "-in", "rsa.pem", "-traditional", "-out", "pkcs1.pem");
    for (String key : List.of("ec.pem", "sec1.pem", "rsa.pem", "pkcs1.pem")) {
      openssl(
          "req",
          "-x509",
          "-key",
          key,
          "-out",
          "self.crt",
          "-subj",
          "/CN=filterd",
          "-days",
          "90",
          "-addext",
          "extendedKeyUsage=clientAuth");
      Files.setPosixFilePermissions(
          folder.resolve(key), PosixFilePermissions.fromString("rw-------"));
      IdentityFolder identities = new IdentityFolder(folder.resolve("of-" + key));
      assertThat(identities.upload(folder.resolve(key), folder.resolve("self.crt"), Subject.SAME))
          .as(key)
          .isEmpty();
      openssl("pkey", "-in", "of-" + key + "/next.pem", "-check", "-noout");
    }
    openssl("pkey", "-in", "ec.pem", "-aes256", "-passout", "pass:secret", "-out", "locked.pem");
    Path locked = folder.resolve("locked.pem");
    Files.setPosixFilePermissions(locked, PosixFilePermissions.fromString("rw-------"));
    assertThatThrownBy(
            () ->
                new IdentityFolder(folder.resolve("kms"))
                    .upload(locked, folder.resolve("self.crt"), Subject.SAME))
        .hasMessageContaining(
            "an encrypted private key (expected: an unencrypted one; run: openssl");
  }
}
