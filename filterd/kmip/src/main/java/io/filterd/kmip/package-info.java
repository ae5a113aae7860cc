/** The place of the KMIP client library. Depends on nothing of filterd. */
@NullMarked
package io.filterd.kmip;

import org.jspecify.annotations.NullMarked;
