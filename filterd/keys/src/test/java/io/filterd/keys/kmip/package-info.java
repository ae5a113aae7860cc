@NullMarked
package io.filterd.keys.kmip;

import org.jspecify.annotations.NullMarked;
