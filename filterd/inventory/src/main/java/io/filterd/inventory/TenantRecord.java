package io.filterd.inventory;

/**
 * What the inventory knows of a tenant: the key-encryption key that its disks share. The key is
 * named here, never held.
 *
 * @param name the tenant
 * @param provider the key provider that has the key
 * @param keyId the provider's own id of it, an opaque string
 * @param checkValue the key check value, in hexadecimal
 */
public record TenantRecord(String name, String provider, String keyId, String checkValue) {}
