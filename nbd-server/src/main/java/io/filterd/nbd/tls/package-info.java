/**
 * The TLS of the server: keys and certificates from files, and the channel handlers made of them.
 * Depends on Netty and, for pre-shared keys, on Bouncy Castle; knows nothing of NBD.
 */
@NullMarked
package io.filterd.nbd.tls;

import org.jspecify.annotations.NullMarked;
