/** Tests of the client against scripted servers and a real one. */
@NullMarked
package io.filterd.kmip.client;

import org.jspecify.annotations.NullMarked;
