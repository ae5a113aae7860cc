package io.filterd.keys;

/**
 * What a key-encryption key is for. Providers that keep such words keep them for their operators;
 * nothing of ours depends on them.
 *
 * @param scope what shares the key
 * @param name the VM, the disk as {@code VM/DISK}, or the tenant
 */
public record KeyLabel(Scope scope, String name) {
  /** Who shares a key. */
  public enum Scope {
    /** The disks of a VM. */
    VM,
    /** One disk. */
    DISK,
    /** All disks of a tenant. */
    TENANT
  }

  /**
   * Checks the name.
   *
   * @throws IllegalArgumentException if it is empty, longer than 255 characters or not printable
   */
  public KeyLabel {
    KeyReference.checkText("label", name, 255);
  }
}
