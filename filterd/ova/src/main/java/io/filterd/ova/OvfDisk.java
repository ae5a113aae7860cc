package io.filterd.ova;

import java.util.Optional;

/**
 * A disk of a VM, as the envelope describes it.
 *
 * @param id its name in the envelope
 * @param capacityBytes its size, at least 1
 * @param fileName the VMDK in the package with its content; none for a disk that is empty
 */
public record OvfDisk(String id, long capacityBytes, Optional<String> fileName) {}
