/** Tests of the encoding, against captured and made-up bytes. */
@NullMarked
package io.filterd.kmip.ttlv;

import org.jspecify.annotations.NullMarked;
