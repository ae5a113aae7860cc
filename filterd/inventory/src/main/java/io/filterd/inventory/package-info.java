/** What there is: VMs, disks, and which are attached. Keys never enter it. */
@NullMarked
package io.filterd.inventory;

import org.jspecify.annotations.NullMarked;
