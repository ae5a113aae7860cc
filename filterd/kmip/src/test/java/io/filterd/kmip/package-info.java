/** Tests of the messages, against captured ones, OASIS's test cases and PyKMIP. */
@NullMarked
package io.filterd.kmip;

import org.jspecify.annotations.NullMarked;
