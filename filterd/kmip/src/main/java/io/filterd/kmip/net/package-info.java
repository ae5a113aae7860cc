/**
 * The way to one KMIP server: mutual TLS, timeouts, framing of messages, a pool of connections.
 * Knows nothing of what is in a message; depends on {@code io.filterd.kmip.cert} alone.
 */
@NullMarked
package io.filterd.kmip.net;

import org.jspecify.annotations.NullMarked;
