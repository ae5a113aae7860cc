@NullMarked
package io.filterd.filter.qos;

import org.jspecify.annotations.NullMarked;
