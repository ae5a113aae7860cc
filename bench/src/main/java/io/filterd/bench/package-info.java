/** JMH benchmarks of each stage of the data path. */
@NullMarked
package io.filterd.bench;

import org.jspecify.annotations.NullMarked;
