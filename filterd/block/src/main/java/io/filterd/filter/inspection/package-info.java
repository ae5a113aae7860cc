/**
 * The inspection filter: counts and times every operation. The smallest complete filter, and so the
 * template for others: a factory, the filter, a line in {@code META-INF/services}.
 */
@NullMarked
package io.filterd.filter.inspection;

import org.jspecify.annotations.NullMarked;
