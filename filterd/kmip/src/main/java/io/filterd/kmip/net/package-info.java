/**
 * The way to one KMIP server: mutual TLS, timeouts, framing of messages, a pool of connections.
 * Knows of a message only where it ends; depends on {@code cert} and {@code ttlv} alone.
 */
@NullMarked
package io.filterd.kmip.net;

import org.jspecify.annotations.NullMarked;
