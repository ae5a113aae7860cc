package io.filterd.inventory;

/**
 * What the inventory knows of a VM: the key-encryption key its next disk is to use. The key is
 * named here, never held.
 *
 * @param name the VM
 * @param provider the key provider that has the key
 * @param keyId the provider's own id of it, an opaque string
 * @param checkValue the key check value, in hexadecimal
 */
public record VmRecord(String name, String provider, String keyId, String checkValue) {}
