@NullMarked
package io.filterd.nbd;

import org.jspecify.annotations.NullMarked;
