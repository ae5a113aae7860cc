@NullMarked
package io.filterd.policy.yaml;

import org.jspecify.annotations.NullMarked;
