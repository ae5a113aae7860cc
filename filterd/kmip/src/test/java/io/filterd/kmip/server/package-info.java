/** KMIP servers for tests, of this module and others: a real one, and one that plays a script. */
@NullMarked
package io.filterd.kmip.server;

import org.jspecify.annotations.NullMarked;
