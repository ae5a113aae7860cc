/**
 * The key hierarchy: providers of key-encryption keys, wrapped data keys, and the door to them.
 * Depends on crypto and kmip, on Bouncy Castle for Argon2 and SHA-256, and on Chronicle only
 * through {@link io.filterd.keys.chronicle}.
 */
@NullMarked
package io.filterd.keys;

import org.jspecify.annotations.NullMarked;
