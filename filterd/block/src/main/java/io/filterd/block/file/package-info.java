/**
 * Files as block devices, and what a file needs beyond that to hold one: positional I/O that may be
 * forbidden to block, holes, locks, atomic replacement. Depends on the block contract only.
 */
@NullMarked
package io.filterd.block.file;

import org.jspecify.annotations.NullMarked;
