package io.filterd.nbd;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import java.util.List;
import java.util.Optional;

/**
 * The devices a server offers, and to whom: the owner of the devices decides for each client what
 * it sees, and whether it may write. Called during negotiation, from many threads; may block.
 */
public interface Exports {
  /** The names this client may list, in order. */
  List<String> names(Client client);

  /**
   * One line for people on an export of this client's list, which may be one that is refused; or
   * empty.
   */
  default String description(String name, Client client) {
    return "";
  }

  /**
   * Opens the export of this name for this client, if there is one; the session closes the lease.
   * The empty name asks for the default export. A client that may only read gets a {@link
   * Lease#readOnly} lease; one that may not know of the export gets none.
   *
   * @throws BlockException if the export is known but can't be had now; clients are told its
   *     message
   * @throws TlsRequiredException if the client should come back with TLS
   * @throws NoAccessException if the client may not use it
   */
  Optional<Lease> open(String name, Client client)
      throws BlockException, TlsRequiredException, NoAccessException;

  /**
   * One export, which is also the default. The device stays the caller's, who closes it after the
   * server.
   */
  static Exports of(String name, BlockDevice device) {
    return new SingleExport(name, device);
  }

  /** One session's use of a device. */
  interface Lease extends AutoCloseable {
    /** The device. It may be shared with other sessions. */
    BlockDevice device();

    /** The export's own name, also where the default export was asked for. */
    String name();

    /** One line for people; may be empty. */
    String description();

    /**
     * Whether this session may only read, whatever the device can do. Asked for each change, so it
     * may turn while the session lasts; a client that was told so at first stays a reader.
     */
    boolean readOnly();

    /** The metadata contexts it has beside {@code base:allocation}; at most 31, names differ. */
    default List<MetaContext> contexts() {
      return List.of();
    }

    /**
     * How many clients at a time the export may have; further ones are refused. With one it is not
     * offered for several connections of a client.
     */
    default int maxClients() {
      return Integer.MAX_VALUE;
    }

    /** Ends the use; the device itself stays open for others. Called once, and may block. */
    @Override
    void close();
  }
}
