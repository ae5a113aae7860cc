/** Tests of the packages of VMs. */
@NullMarked
package io.filterd.ova;

import org.jspecify.annotations.NullMarked;
