@NullMarked
package io.filterd.nbd.wire;

import org.jspecify.annotations.NullMarked;
