/**
 * The one contract of the data path, {@link io.filterd.block.BlockDevice}, and the devices and
 * checks that belong to the contract itself. Depends on the JDK only.
 */
@NullMarked
package io.filterd.block;

import org.jspecify.annotations.NullMarked;
