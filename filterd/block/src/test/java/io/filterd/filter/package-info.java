@NullMarked
package io.filterd.filter;

import org.jspecify.annotations.NullMarked;
