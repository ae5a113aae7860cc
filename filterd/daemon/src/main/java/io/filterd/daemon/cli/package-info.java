/** The command line: parses, asks the daemon or works by itself, prints for people or programs. */
@NullMarked
package io.filterd.daemon.cli;

import org.jspecify.annotations.NullMarked;
