/**
 * What a filter is to the rest of the house: a factory found by {@link java.util.ServiceLoader},
 * with a class that gives it its place in the pipeline. A third party writes a filter against this
 * package and {@code io.filterd.block} alone.
 */
@NullMarked
package io.filterd.filter;

import org.jspecify.annotations.NullMarked;
