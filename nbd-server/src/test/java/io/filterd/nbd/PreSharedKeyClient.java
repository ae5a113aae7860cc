package io.filterd.nbd;

import java.nio.charset.StandardCharsets;
import java.security.SecureRandom;
import java.util.Arrays;
import java.util.Vector;
import org.bouncycastle.tls.BasicTlsPSKExternal;
import org.bouncycastle.tls.BasicTlsPSKIdentity;
import org.bouncycastle.tls.PRFAlgorithm;
import org.bouncycastle.tls.PSKTlsClient;
import org.bouncycastle.tls.ProtocolVersion;
import org.bouncycastle.tls.TlsUtils;
import org.bouncycastle.tls.crypto.impl.bc.BcTlsCrypto;
import org.jspecify.annotations.Nullable;

/** A TLS client that knows a key, and one way only. */
final class PreSharedKeyClient extends PSKTlsClient {
  private final byte[] identity;
  private final byte[] key;
  private final ProtocolVersion version;
  private final int cipherSuite;
  private final int[] groups;

  /**
   * A client.
   *
   * @param groups those it can compute with; the usual ones if there are none
   */
  PreSharedKeyClient(
      String identity, byte[] key, ProtocolVersion version, int cipherSuite, int... groups) {
    super(
        new BcTlsCrypto(new SecureRandom()),
        new BasicTlsPSKIdentity(identity.getBytes(StandardCharsets.UTF_8), key));
    this.identity = identity.getBytes(StandardCharsets.UTF_8);
    this.key = key;
    this.version = version;
    this.cipherSuite = cipherSuite;
    this.groups = groups;
  }

  @Override
  @SuppressWarnings({"JdkObsolete", "rawtypes", "unchecked"}) // The framework's interface.
  protected Vector getSupportedGroups(Vector roles) {
    Vector usual = super.getSupportedGroups(roles);
    return groups.length == 0 ? usual : new Vector(Arrays.stream(groups).boxed().toList());
  }

  @Override
  protected ProtocolVersion[] getSupportedVersions() {
    return version.only();
  }

  @Override
  protected int[] getSupportedCipherSuites() {
    return new int[] {cipherSuite};
  }

  @Override
  @SuppressWarnings({"JdkObsolete", "rawtypes", "unchecked"}) // The framework's interface.
  public @Nullable Vector getExternalPSKs() {
    return TlsUtils.isTLSv13(version)
        ? TlsUtils.vectorOfOne(
            new BasicTlsPSKExternal(
                identity, getCrypto().createSecret(key), PRFAlgorithm.tls13_hkdf_sha256))
        : null;
  }
}
