/** Tests of the VMDK library. */
@NullMarked
package io.filterd.vmdk;

import org.jspecify.annotations.NullMarked;
