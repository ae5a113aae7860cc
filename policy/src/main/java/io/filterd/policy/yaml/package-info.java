/**
 * Strict YAML for files that people write: every value is asked for by name and type, every problem
 * is collected with its file, line and key, and what nobody asked for is a problem too. The only
 * package that knows the YAML library.
 */
@NullMarked
package io.filterd.policy.yaml;

import org.jspecify.annotations.NullMarked;
