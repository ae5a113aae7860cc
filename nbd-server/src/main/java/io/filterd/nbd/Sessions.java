package io.filterd.nbd;

import io.netty.channel.group.ChannelGroup;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executor;

/** What all sessions of a server share. Safe for many threads. */
final class Sessions {
  private final NbdServerConfig config;
  private final Exports exports;
  private final Executor workers;
  private final ChannelGroup channels;
  private final Set<Transmission> transmissions = ConcurrentHashMap.newKeySet();
  private volatile boolean stopping;

  /** State for a server's sessions. */
  Sessions(NbdServerConfig config, Exports exports, Executor workers, ChannelGroup channels) {
    this.config = config;
    this.exports = exports;
    this.workers = workers;
    this.channels = channels;
  }

  NbdServerConfig config() {
    return config;
  }

  Exports exports() {
    return exports;
  }

  /** Runs what may block. */
  Executor workers() {
    return workers;
  }

  /** Every open connection. */
  ChannelGroup channels() {
    return channels;
  }

  /** Every session in the transmission phase. */
  Set<Transmission> transmissions() {
    return transmissions;
  }

  boolean stopping() {
    return stopping;
  }

  /** From now on nothing new is begun. */
  void stop() {
    stopping = true;
  }
}
