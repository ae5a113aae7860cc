/** Tests of keys and certificates. */
@NullMarked
package io.filterd.kmip.cert;

import org.jspecify.annotations.NullMarked;
