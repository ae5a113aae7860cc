/**
 * The cache of data keys, over Chronicle Map. The only package that knows Chronicle; depends on
 * crypto.
 */
@NullMarked
package io.filterd.keys.chronicle;

import org.jspecify.annotations.NullMarked;
