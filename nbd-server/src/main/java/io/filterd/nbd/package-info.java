/** An NBD server as a library: serves any BlockDevice; knows no key, policy or VMDK. */
@NullMarked
package io.filterd.nbd;

import org.jspecify.annotations.NullMarked;
