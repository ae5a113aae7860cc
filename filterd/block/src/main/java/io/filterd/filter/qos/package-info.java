/** The qos filter: keeps a disk within operations and bytes per second. */
@NullMarked
package io.filterd.filter.qos;

import org.jspecify.annotations.NullMarked;
