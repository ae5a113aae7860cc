/** The key hierarchy: providers, wrapped data keys, the DEK cache. Depends on crypto and kmip. */
@NullMarked
package io.filterd.keys;

import org.jspecify.annotations.NullMarked;
