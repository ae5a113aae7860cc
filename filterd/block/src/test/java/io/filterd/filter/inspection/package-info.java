@NullMarked
package io.filterd.filter.inspection;

import org.jspecify.annotations.NullMarked;
