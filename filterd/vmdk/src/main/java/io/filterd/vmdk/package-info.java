/** VMDK as a library. Depends on block only. */
@NullMarked
package io.filterd.vmdk;

import org.jspecify.annotations.NullMarked;
