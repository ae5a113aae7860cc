/**
 * The qos filter: keeps a disk within operations and bytes per second. Depends on the contract of
 * devices and filters only.
 */
@NullMarked
package io.filterd.filter.qos;

import org.jspecify.annotations.NullMarked;
