/** Tests of files as block devices. */
@NullMarked
package io.filterd.block.file;

import org.jspecify.annotations.NullMarked;
