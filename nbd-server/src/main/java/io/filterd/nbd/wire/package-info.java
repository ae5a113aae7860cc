/** NBD's numbers and layouts, by the words of the specification (proto.md of the NBD project). */
@NullMarked
package io.filterd.nbd.wire;

import org.jspecify.annotations.NullMarked;
