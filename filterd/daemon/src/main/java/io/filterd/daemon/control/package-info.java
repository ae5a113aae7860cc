/**
 * What can be asked of filterd, and how a command line asks a running daemon: the operations with
 * their arguments and results, and one JSON line each way over a Unix socket.
 */
@NullMarked
package io.filterd.daemon.control;

import org.jspecify.annotations.NullMarked;
