package io.filterd.kmip.cert;

import java.io.IOException;
import java.io.InputStreamReader;
import java.io.Reader;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.cert.CertificateEncodingException;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Arrays;
import java.util.Base64;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import org.bouncycastle.asn1.pkcs.PrivateKeyInfo;
import org.bouncycastle.openssl.PEMEncryptedKeyPair;
import org.bouncycastle.openssl.PEMKeyPair;
import org.bouncycastle.openssl.PEMParser;
import org.bouncycastle.openssl.jcajce.JcaPEMKeyConverter;
import org.bouncycastle.pkcs.PKCS8EncryptedPrivateKeyInfo;

/**
 * Private keys and certificates in PEM files that only their owner may touch, from the moment they
 * are made.
 */
final class KeyFiles {
  private static final Set<PosixFilePermission> OWNER =
      EnumSet.of(
          PosixFilePermission.OWNER_READ,
          PosixFilePermission.OWNER_WRITE,
          PosixFilePermission.OWNER_EXECUTE);
  private static final int MAX_FILE_BYTES = 1 << 20;
  private static final byte[] LINE_END = {'\n'};
  private static final int LINE_CHARACTERS = 64;

  private KeyFiles() {}

  /**
   * The first private key of a file: PKCS#8, PKCS#1 or SEC 1, unencrypted, EC or RSA.
   *
   * @throws IdentityException if others than its owner have access to the file, or it holds no key
   *     that can be used
   */
  static PrivateKey readKey(Path file) throws IOException {
    checkMode(file);
    if (Files.size(file) > MAX_FILE_BYTES) {
      throw new IdentityException(
          file + ": longer (expected: a private key of up to " + MAX_FILE_BYTES + " bytes)");
    }
    try (Reader text =
            new InputStreamReader(Files.newInputStream(file), StandardCharsets.ISO_8859_1);
        PEMParser pem = new PEMParser(text)) {
      for (Object block = pem.readObject(); block != null; block = pem.readObject()) {
        if (block instanceof PrivateKeyInfo plain) {
          return usable(file, new JcaPEMKeyConverter().getPrivateKey(plain));
        }
        if (block instanceof PEMKeyPair pair) {
          return usable(file, new JcaPEMKeyConverter().getPrivateKey(pair.getPrivateKeyInfo()));
        }
        if (block instanceof PKCS8EncryptedPrivateKeyInfo || block instanceof PEMEncryptedKeyPair) {
          throw new IdentityException(
              file
                  + ": an encrypted private key (expected: an unencrypted one; run: openssl pkey -in "
                  + file
                  + " -out NEW, under umask 077)");
        }
      }
    } catch (IdentityException e) {
      throw e;
    } catch (IOException e) {
      // Without its cause, whose text might quote the key.
      throw new IdentityException(file + ": not readable (expected: a private key in PEM)");
    }
    throw new IdentityException(file + ": no private key (expected: one, in PEM)");
  }

  private static PrivateKey usable(Path file, PrivateKey key) throws IdentityException {
    // Bouncy Castle's name for what the JDK and TLS call EC.
    String algorithm = key.getAlgorithm().equals("ECDSA") ? "EC" : key.getAlgorithm();
    if (!algorithm.equals("EC") && !algorithm.equals("RSA")) {
      throw new IdentityException(
          file + ": a private key for " + algorithm + " (expected: EC or RSA)");
    }
    byte[] encoded = key.getEncoded();
    try {
      return KeyFactory.getInstance(algorithm).generatePrivate(new PKCS8EncodedKeySpec(encoded));
    } catch (GeneralSecurityException e) {
      throw new IdentityException(file + ": a private key that this JDK does not take");
    } finally {
      Arrays.fill(encoded, (byte) 0);
    }
  }

  private static void checkMode(Path file) throws IOException {
    Set<PosixFilePermission> mode = Files.getPosixFilePermissions(file);
    if (!OWNER.containsAll(mode)) {
      throw new IdentityException(
          file
              + ": mode "
              + PosixFilePermissions.toString(mode)
              + " (expected: no access for group and others; run: chmod 600 "
              + file
              + ")");
    }
  }

  /** Writes a new file with a key and its certificates, and has it on the disk when it returns. */
  static void write(Path file, PrivateKey key, List<X509Certificate> chain) throws IOException {
    try (FileChannel target = createPrivate(file)) {
      byte[] encoded = key.getEncoded();
      try {
        writeBlock(target, "PRIVATE KEY", encoded);
      } finally {
        Arrays.fill(encoded, (byte) 0);
      }
      for (X509Certificate certificate : chain) {
        writeBlock(target, "CERTIFICATE", certificate.getEncoded());
      }
      target.force(true);
    } catch (CertificateEncodingException e) {
      throw new IllegalArgumentException("certificate: not encodable", e);
    }
  }

  private static FileChannel createPrivate(Path file) throws IOException {
    return FileChannel.open(
        file,
        Set.of(StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE),
        PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
  }

  private static void writeBlock(FileChannel target, String type, byte[] content)
      throws IOException {
    byte[] base64 = Base64.getMimeEncoder(LINE_CHARACTERS, LINE_END).encode(content);
    try {
      write(target, ("-----BEGIN " + type + "-----\n").getBytes(StandardCharsets.US_ASCII));
      write(target, base64);
      write(target, ("\n-----END " + type + "-----\n").getBytes(StandardCharsets.US_ASCII));
    } finally {
      Arrays.fill(base64, (byte) 0);
    }
  }

  private static void write(FileChannel target, byte[] bytes) throws IOException {
    ByteBuffer source = ByteBuffer.wrap(bytes);
    while (source.hasRemaining()) {
      target.write(source);
    }
  }

  /** Replaces {@code file} by {@code text}, which is no secret. */
  static void writeText(Path file, String text) throws IOException {
    Path made = file.resolveSibling(file.getFileName() + ".new");
    Files.deleteIfExists(made);
    try (FileChannel target = createPrivate(made)) {
      write(target, text.getBytes(StandardCharsets.US_ASCII));
      target.force(true);
    }
    move(made, file);
  }

  /** Puts {@code from} in the place of {@code to} at once, and has that on the disk. */
  static void move(Path from, Path to) throws IOException {
    Files.move(from, to, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    syncFolder(to);
  }

  /** Has the names of the folder that {@code file} is in on the disk. */
  static void syncFolder(Path file) throws IOException {
    Path folder = file.toAbsolutePath().getParent();
    if (folder != null) {
      try (FileChannel names = FileChannel.open(folder, StandardOpenOption.READ)) {
        names.force(true);
      }
    }
  }
}
