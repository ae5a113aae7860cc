/** Tests of the transport against servers that behave and others that don't. */
@NullMarked
package io.filterd.kmip.net;

import org.jspecify.annotations.NullMarked;
