package io.filterd.nbd.tls;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Vector;
import org.bouncycastle.tls.BasicTlsPSKExternal;
import org.bouncycastle.tls.CipherSuite;
import org.bouncycastle.tls.NamedGroup;
import org.bouncycastle.tls.PRFAlgorithm;
import org.bouncycastle.tls.PSKTlsServer;
import org.bouncycastle.tls.ProtocolVersion;
import org.bouncycastle.tls.PskIdentity;
import org.bouncycastle.tls.TlsPSKExternal;
import org.bouncycastle.tls.TlsPSKIdentityManager;
import org.bouncycastle.tls.TlsUtils;
import org.bouncycastle.tls.crypto.TlsCrypto;
import org.jspecify.annotations.Nullable;

/** What one connection's TLS with a pre-shared key offers, and who has been found to be there. */
final class PreSharedKeyServer extends PSKTlsServer {
  /** With authenticated ciphers, and keys that die with the connection. */
  private static final int[] CIPHER_SUITES = {
    CipherSuite.TLS_AES_128_GCM_SHA256,
    CipherSuite.TLS_ECDHE_PSK_WITH_AES_128_GCM_SHA256,
    CipherSuite.TLS_DHE_PSK_WITH_AES_256_GCM_SHA384,
    CipherSuite.TLS_DHE_PSK_WITH_AES_128_GCM_SHA256,
  };

  private static final int MOST_GROUP_BITS = 4096;

  private final PreSharedKeyFile keys;
  private byte @Nullable [] identity;
  private boolean complete;

  /** A handshake with somebody who should know one of these keys. */
  PreSharedKeyServer(TlsCrypto crypto, PreSharedKeyFile keys) {
    super(crypto, new Identities(keys));
    this.keys = keys;
  }

  /** The keys of TLS 1.2. */
  private record Identities(PreSharedKeyFile keys) implements TlsPSKIdentityManager {
    @Override
    public byte @Nullable [] getHint() {
      return null;
    }

    @Override
    public byte @Nullable [] getPSK(byte[] identity) {
      return keys.key(identity);
    }
  }

  @Override
  protected ProtocolVersion[] getSupportedVersions() {
    return ProtocolVersion.TLSv13.downTo(ProtocolVersion.TLSv12);
  }

  @Override
  protected int[] getSupportedCipherSuites() {
    return TlsUtils.getSupportedCipherSuites(getCrypto(), CIPHER_SUITES);
  }

  /**
   * The first group that the client offers and that is not huge: any client may ask for one, and it
   * is the event loop that computes.
   */
  @Override
  protected int selectDH(int leastBits) {
    int first = super.selectDH(leastBits);
    if (NamedGroup.getFiniteFieldBits(first) <= MOST_GROUP_BITS) {
      return first;
    }
    return Arrays.stream(context.getSecurityParametersHandshake().getClientSupportedGroups())
        .filter(
            group -> {
              int bits = NamedGroup.getFiniteFieldBits(group);
              return bits >= leastBits && bits > 0 && bits <= MOST_GROUP_BITS;
            })
        .findFirst()
        .orElse(-1);
  }

  @Override
  protected int getMaximumNegotiableFiniteFieldBits() {
    return Math.min(
        super.getMaximumNegotiableFiniteFieldBits(),
        Math.max(0, NamedGroup.getFiniteFieldBits(selectDH(1))));
  }

  /** The key of TLS 1.3: the first that is known of those that the client names. */
  @Override
  @SuppressWarnings({"JdkObsolete", "rawtypes"}) // The framework's interface.
  public @Nullable TlsPSKExternal getExternalPSK(Vector offered) {
    for (Object each : offered) {
      byte[] name = ((PskIdentity) each).getIdentity();
      byte[] key = keys.key(name);
      if (key != null) {
        identity = name;
        // The hash of every key that says nothing else (RFC 8446, 4.2.11).
        return new BasicTlsPSKExternal(
            name, getCrypto().createSecret(key), PRFAlgorithm.tls13_hkdf_sha256);
      }
    }
    return null;
  }

  @Override
  public void notifyHandshakeComplete() {
    if (identity == null) {
      identity = context.getSecurityParametersConnection().getPSKIdentity();
    }
    complete = true;
  }

  /** Whether the client has proven to know its key. */
  boolean complete() {
    return complete;
  }

  /** Whose key it was. */
  String identity() {
    byte[] name = identity;
    if (!complete || name == null) {
      throw new IllegalStateException("the handshake is not complete");
    }
    return new String(name, StandardCharsets.UTF_8);
  }
}
