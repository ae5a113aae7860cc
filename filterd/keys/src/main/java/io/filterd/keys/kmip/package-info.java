/**
 * The key provider whose keys are in the KMS of an operator: a cluster of KMIP servers that
 * replicate the same keys.
 */
@NullMarked
package io.filterd.keys.kmip;

import org.jspecify.annotations.NullMarked;
