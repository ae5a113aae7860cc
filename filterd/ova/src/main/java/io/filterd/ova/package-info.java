/**
 * OVF packages (DMTF DSP0243): the disks of a VM with an XML envelope that describes it, in a
 * folder or in one .ova, which is a tar. Depends on vmdk for the disks; only {@code TarIndex} and
 * {@code OvaWriter} know the library for tars. Everything in a package is somebody else's: each
 * number is checked against a limit before it is used.
 */
@NullMarked
package io.filterd.ova;

import org.jspecify.annotations.NullMarked;
