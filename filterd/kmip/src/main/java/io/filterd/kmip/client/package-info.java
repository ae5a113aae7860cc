/**
 * What a key provider needs of one KMIP server, with the differences between servers and versions
 * dealt with. On top of the messages and of {@code net}.
 */
@NullMarked
package io.filterd.kmip.client;

import org.jspecify.annotations.NullMarked;
