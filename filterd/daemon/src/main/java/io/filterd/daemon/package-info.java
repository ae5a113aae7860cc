/** The composition root: configuration, keys, disks, pipelines, NBD exports. */
@NullMarked
package io.filterd.daemon;

import org.jspecify.annotations.NullMarked;
