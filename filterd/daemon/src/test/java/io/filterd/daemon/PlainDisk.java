package io.filterd.daemon;

import io.filterd.block.BlockException;
import io.filterd.inventory.ServeOptions;
import io.filterd.policy.StoragePolicy;
import io.filterd.vmdk.Access;
import io.filterd.vmdk.LinkedDisk;
import java.io.IOException;
import java.nio.file.Path;

/** Opens disks without keys. */
final class PlainDisk {
  private PlainDisk() {}

  static DiskStack open(String name, FilterRegistry filters, Path file, StoragePolicy policy)
      throws IOException, BlockException {
    LinkCiphers ciphers =
        new LinkCiphers(
            name,
            filters.get(FilterRegistry.ENCRYPTION),
            metadata -> {
              throw new IllegalStateException("a key was asked for");
            });
    return DiskStack.open(
        name,
        filters,
        LinkedDisk.open(file, Access.READ_WRITE, ciphers, moved -> {}),
        ServeOptions.DEFAULT,
        ciphers,
        policy);
  }
}
