@NullMarked
package io.filterd.bench;

import org.jspecify.annotations.NullMarked;
