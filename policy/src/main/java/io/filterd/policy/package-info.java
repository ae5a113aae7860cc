/** Storage policies: the language, its rules, compliance. No I/O. */
@NullMarked
package io.filterd.policy;

import org.jspecify.annotations.NullMarked;
