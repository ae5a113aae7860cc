/**
 * Certificates and private keys of both sides. The only package that uses Bouncy Castle; depends on
 * nothing else of filterd.
 */
@NullMarked
package io.filterd.kmip.cert;

import org.jspecify.annotations.NullMarked;
