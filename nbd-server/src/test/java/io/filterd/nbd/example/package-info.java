/** What the README shows, so that it compiles and is tried. */
@NullMarked
package io.filterd.nbd.example;

import org.jspecify.annotations.NullMarked;
