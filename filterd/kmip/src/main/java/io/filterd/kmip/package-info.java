/**
 * KMIP's messages: requests made, answers read, for versions 1.0 to 2.1. Depends on {@code ttlv}
 * and the JDK only; knows nothing of connections.
 */
@NullMarked
package io.filterd.kmip;

import org.jspecify.annotations.NullMarked;
