package io.filterd.nbd;

import io.filterd.block.BlockDevice;
import java.util.List;
import java.util.Optional;

/** One device under one name, which is also the default. */
record SingleExport(String name, BlockDevice device) implements Exports {
  @Override
  public List<String> names(Client client) {
    return List.of(name);
  }

  @Override
  public Optional<Lease> open(String asked, Client client) {
    return asked.isEmpty() || asked.equals(name)
        ? Optional.of(new SharedLease(name, device))
        : Optional.empty();
  }

  /** Nothing is counted: the device outlives the server. */
  private record SharedLease(String name, BlockDevice device) implements Lease {
    @Override
    public String description() {
      return "";
    }

    @Override
    public boolean readOnly() {
      return false;
    }

    @Override
    public void close() {}
  }
}
