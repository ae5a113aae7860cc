/**
 * The contract of the data path as tests that every device and stack extends, and devices that
 * misbehave in the ways they must cope with. Published as the module's test-jar.
 */
@NullMarked
package io.filterd.block;

import org.jspecify.annotations.NullMarked;
