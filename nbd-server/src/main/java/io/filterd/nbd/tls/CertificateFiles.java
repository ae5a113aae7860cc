package io.filterd.nbd.tls;

import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The files of a server that shows a certificate, all of them PEM.
 *
 * @param certificate the server's own, and behind it those that lead to its authority
 * @param privateKey of the first certificate, without a passphrase; RSA or EC
 * @param clientAuthorities whose certificates a client must have; null if clients need none
 */
public record CertificateFiles(
    Path certificate, Path privateKey, @Nullable Path clientAuthorities) {
  List<Path> all() {
    return Stream.of(certificate, privateKey, clientAuthorities)
        .<Path>mapMulti(
            (each, to) -> {
              if (each != null) {
                to.accept(each);
              }
            })
        .toList();
  }
}
