package io.filterd.daemon;

import io.filterd.daemon.control.ControlServer;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import io.filterd.inventory.DiskRecord;
import io.filterd.nbd.Listener;
import io.filterd.nbd.NbdServer;
import java.io.IOException;
import java.net.SocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The daemon: a host that is served over NBD and takes commands, from start to stop. */
public final class Daemon implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(Daemon.class);

  private final Host host;
  private final NbdServer nbd;
  private final ControlServer control;
  private final CountDownLatch closed = new CountDownLatch(1);
  private boolean closing;

  private Daemon(Host host, NbdServer nbd, ControlServer control) {
    this.host = host;
    this.nbd = nbd;
    this.control = control;
  }

  /**
   * Starts: listens first, so that clients connect at once and wait, then opens the disks that were
   * attached when the daemon last ran.
   */
  public static Daemon start(DaemonConfig config) throws OperationException {
    ProcessSecrecy.apply();
    checkPolicies(config);
    Host host = Host.open(config);
    NbdServer nbd = null;
    ControlServer control = null;
    boolean started = false;
    try {
      List<DiskRecord> disks = host.serving().announce();
      makeFolders(config);
      // Opening the provider and the cache takes longer than listening: side by side.
      Thread opening =
          Thread.ofPlatform().daemon().name("attach").unstarted(() -> reattach(host, disks));
      if (!disks.isEmpty()) {
        opening.start();
      }
      nbd = NbdServer.start(config.nbd(), host.exports());
      host.serve(nbd);
      control =
          ControlServer.start(
              config.control().socket(), config.control().mode(), host, Host.operations());
      host.rotation().start();
      started = true;
      return new Daemon(host, nbd, control);
    } catch (IOException failure) {
      throw new OperationException(
          Code.CONFLICT,
          failure.getMessage() + ": stop what uses it, or change the configuration",
          failure);
    } finally {
      if (!started) {
        if (nbd != null) {
          nbd.close();
        }
        host.close();
      }
    }
  }

  /** Without its policies no disk could be served, which is better said at once. */
  private static void checkPolicies(DaemonConfig config) throws OperationException {
    if (!Files.isDirectory(config.policies())) {
      throw new OperationException(
          Code.INVALID,
          "policies: "
              + config.policies()
              + " (expected: a folder with storage policies: copy conf/policies, or name another)");
    }
  }

  private static void reattach(Host host, List<DiskRecord> disks) {
    host.warmUp();
    host.locked().start(disks);
  }

  /** Sockets live in folders that may be gone after a reboot. */
  private static void makeFolders(DaemonConfig config) throws IOException {
    Files.createDirectories(config.control().socket().getParent());
    for (Listener listener : config.nbd().listen()) {
      if (listener.place() instanceof Listener.Unix unix) {
        Path folder = unix.path().getParent();
        if (folder != null) {
          Files.createDirectories(folder);
        }
      }
    }
  }

  /** What may be asked of the daemon, without its socket. */
  public Host host() {
    return host;
  }

  /** Where it serves NBD. */
  public List<SocketAddress> addresses() {
    return nbd.addresses();
  }

  /** The URIs of an export. */
  public List<String> uris(String export) {
    return NbdUri.of(nbd, export);
  }

  /** Waits until the daemon has stopped. */
  public void awaitStop() throws InterruptedException {
    closed.await();
  }

  /**
   * Stops, in order: no more commands, no more clients, requests in flight finished, disks flushed
   * and closed, keys wiped.
   */
  @Override
  public void close() throws OperationException {
    synchronized (this) {
      if (closing) {
        return;
      }
      closing = true;
    }
    try {
      control.close();
      host.serving().stopDelaying();
      nbd.close();
      host.close();
      LOG.info("stopped");
    } catch (IOException failure) {
      throw new OperationException(Code.IO, "the control socket: " + failure.getMessage(), failure);
    } finally {
      closed.countDown();
    }
  }
}
