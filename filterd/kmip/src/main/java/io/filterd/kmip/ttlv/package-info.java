/**
 * KMIP's binary encoding, Tag-Type-Length-Value: an immutable tree of items, its reader and writer.
 * Depends on the JDK only, and knows nothing of what the messages mean.
 */
@NullMarked
package io.filterd.kmip.ttlv;

import org.jspecify.annotations.NullMarked;
