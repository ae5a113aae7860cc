package io.filterd.daemon.control;

import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The operations by which a provider and its key management servers come to trust each other, their
 * arguments and their results. Paths are absolute, times are in ISO 8601.
 */
public final class KmsCare {
  private KmsCare() {}

  /** Makes a key, and a request for its certificate. */
  public static final Operation<NewCertificate, CertificateRequest> CERTIFICATE_REQUEST =
      new Operation<>(
          "provider.certificate.request", NewCertificate.class, CertificateRequest.class);

  /** Makes a key, and a certificate that is its own issuer. */
  public static final Operation<NewCertificate, Taken> CERTIFICATE_SELF_SIGNED =
      new Operation<>("provider.certificate.self-signed", NewCertificate.class, Taken.class);

  /** Takes the certificate that was signed for the request. */
  public static final Operation<GivenCertificate, Taken> CERTIFICATE_ACCEPT =
      new Operation<>("provider.certificate.accept", GivenCertificate.class, Taken.class);

  /** Takes a key and a certificate that were made elsewhere. */
  public static final Operation<GivenCertificate, Taken> CERTIFICATE_UPLOAD =
      new Operation<>("provider.certificate.upload", GivenCertificate.class, Taken.class);

  /** Puts the next certificate in use, once it has proven itself. */
  public static final Operation<Requests.Provider, Taken> CERTIFICATE_SWITCH =
      new Operation<>("provider.certificate.switch", Requests.Provider.class, Taken.class);

  /** Shows our certificates and those of the servers. */
  public static final Operation<Requests.Provider, Certificates> CERTIFICATE_SHOW =
      new Operation<>("provider.certificate.show", Requests.Provider.class, Certificates.class);

  /** Trusts the servers that show certificates with these fingerprints. */
  public static final Operation<TrustServers, Certificates> TRUST =
      new Operation<>("provider.trust", TrustServers.class, Certificates.class);

  /**
   * Asks for a certificate to be made.
   *
   * @param subject such as {@code CN=filterd,O=Example}; null for that of the one in use
   * @param otherSubject whether it may be another than that of the one in use
   * @param days how long a self-signed one is valid
   */
  public record NewCertificate(
      @Nullable String provider, @Nullable String subject, boolean otherSubject, int days) {}

  /**
   * Gives a certificate.
   *
   * @param key the private key's file, or null if it waits here
   * @param chain the certificate's file
   * @param otherSubject as in {@link NewCertificate}
   */
  public record GivenCertificate(
      @Nullable String provider, @Nullable String key, String chain, boolean otherSubject) {
    /** Checks what came from outside. */
    public GivenCertificate {
      Requests.checkPath(key, "key");
      Requests.require(chain, "chain");
      Requests.checkPath(chain, "chain");
    }
  }

  /** Says which certificates are trusted, by their SHA-256. */
  public record TrustServers(@Nullable String provider, List<String> fingerprints) {
    private static final int MAX_FINGERPRINTS = 64;

    /** Checks what came from outside. */
    public TrustServers {
      Requests.require(fingerprints, "fingerprints");
      if (fingerprints.isEmpty() || fingerprints.size() > MAX_FINGERPRINTS) {
        throw new IllegalArgumentException(
            "fingerprints: " + fingerprints.size() + " (expected: 1.." + MAX_FINGERPRINTS + ")");
      }
      fingerprints.forEach(each -> Requests.require(each, "fingerprint"));
      fingerprints = List.copyOf(fingerprints);
    }
  }

  /** A request for a certificate, in PEM, and the file that it is in. */
  public record CertificateRequest(String provider, String file, String pem) {}

  /** What there is to know of a certificate. */
  public record Certificate(
      String subject,
      String issuer,
      String serial,
      String sha256,
      String notBefore,
      String notAfter) {}

  /**
   * A certificate of ours.
   *
   * @param inUse whether it is in use now; else it is the next one
   * @param keysRead how many keys it has read before it was put in use instead of another
   */
  public record Taken(
      String provider,
      Certificate certificate,
      boolean inUse,
      int keysRead,
      List<String> warnings) {}

  /**
   * A server.
   *
   * @param certificate what it shows now, or null if it can't be asked
   * @param problem why it can't be asked, or null
   * @param trust {@code pinned}, {@code by-authority} or {@code none}
   */
  public record Server(
      String server, @Nullable Certificate certificate, @Nullable String problem, String trust) {}

  /**
   * All certificates of a provider.
   *
   * @param folder where ours are
   * @param inUse ours, or null if there is none
   * @param next ours that is not in use yet, or null
   * @param waiting whether a request waits for its certificate
   */
  public record Certificates(
      String provider,
      String folder,
      @Nullable Certificate inUse,
      @Nullable Certificate next,
      boolean waiting,
      List<Server> servers) {}
}
