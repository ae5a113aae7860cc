@NullMarked
package io.filterd.policy;

import org.jspecify.annotations.NullMarked;
