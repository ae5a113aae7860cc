package io.filterd.daemon;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.daemon.AccessRule.Allow;
import io.filterd.nbd.Client;
import io.filterd.nbd.Exports;
import io.filterd.nbd.MetaContext;
import io.filterd.nbd.NoAccessException;
import io.filterd.nbd.NoAccessException.Told;
import io.filterd.nbd.TlsRequiredException;
import java.util.List;
import java.util.Optional;

/**
 * The disks, for those who may use them: each client sees, and finds out of, only what the access
 * rules give it. Safe for many threads.
 */
final class ExportAccess implements Exports {
  private final Exports disks;
  private final LiveAccess access;

  ExportAccess(Exports disks, LiveAccess access) {
    this.disks = disks;
    this.access = access;
  }

  @Override
  public List<String> names(Client client) {
    return names(access.current(), client);
  }

  private List<String> names(AccessRules rules, Client client) {
    return disks.names(client).stream()
        .filter(name -> rules.allow(client, name) != Allow.NONE)
        .toList();
  }

  @Override
  public String description(String name, Client client) {
    return access.current().allow(client, name) == Allow.NONE
        ? ""
        : disks.description(name, client);
  }

  /** What is refused is refused before anybody looks whether it is there. */
  @Override
  public Optional<Lease> open(String asked, Client client)
      throws BlockException, TlsRequiredException, NoAccessException {
    AccessRules rules = access.current();
    String name = asked;
    if (asked.isEmpty()) {
      // The only disk that there is for this client.
      List<String> names = names(rules, client);
      name = names.size() == 1 ? names.getFirst() : "";
      if (name.isEmpty() && rules.know(client)) {
        return Optional.empty();
      }
    }
    Allow allow = name.isEmpty() ? Allow.NONE : rules.allow(client, name);
    if (allow == Allow.NONE) {
      if (!client.inTls() && rules.needTls()) {
        throw new TlsRequiredException("without TLS this client may not use an export so named");
      }
      throw new NoAccessException(
          "the access rules do not let this client use it",
          rules.know(client) ? Told.UNKNOWN : Told.SENTENCE);
    }
    Optional<Lease> lease = disks.open(name, client);
    return allow == Allow.READ_ONLY ? lease.map(ReadersLease::new) : lease;
  }

  /** A lease of a client that may only read. */
  private record ReadersLease(Lease lease) implements Lease {
    @Override
    public BlockDevice device() {
      return lease.device();
    }

    @Override
    public String name() {
      return lease.name();
    }

    @Override
    public String description() {
      return lease.description() + "; this client may only read";
    }

    @Override
    public boolean readOnly() {
      return true;
    }

    @Override
    public List<MetaContext> contexts() {
      return lease.contexts();
    }

    @Override
    public int maxClients() {
      return lease.maxClients();
    }

    @Override
    public void close() {
      lease.close();
    }
  }
}
