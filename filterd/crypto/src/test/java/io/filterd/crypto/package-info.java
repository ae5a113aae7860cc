/** Tests of XTS, key wrap and secret memory. */
@NullMarked
package io.filterd.crypto;

import org.jspecify.annotations.NullMarked;
