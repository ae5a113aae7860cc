/** XTS over native memory, key wrap, secret memory. Depends on block only. */
@NullMarked
package io.filterd.crypto;

import org.jspecify.annotations.NullMarked;
