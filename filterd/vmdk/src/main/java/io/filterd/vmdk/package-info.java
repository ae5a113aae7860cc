/**
 * VMDK as a library: descriptors, extents, links and chains, each usable as an {@link
 * io.filterd.block.BlockDevice}. Knows where encryption metadata is kept, and nothing of keys.
 * Depends on block only.
 */
@NullMarked
package io.filterd.vmdk;

import org.jspecify.annotations.NullMarked;
