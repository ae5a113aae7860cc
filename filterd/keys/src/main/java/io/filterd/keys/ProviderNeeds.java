package io.filterd.keys;

import java.nio.file.Path;
import java.util.List;
import java.util.Objects;

/**
 * What a provider needs to hand its keys out, so that it can be said beforehand what a loss would
 * cost.
 *
 * @param servers those that have its keys, each of which is enough alone; empty for a provider that
 *     has none
 * @param files the files of this host without which it can't be opened again
 * @param keeping where its keys are
 * @param reopening why it could not be opened again after a restart, as far as was tried; empty if
 *     it could
 */
public record ProviderNeeds(
    List<Server> servers, List<Path> files, Keeping keeping, String reopening) {
  /** For a provider that does not say. */
  public static final ProviderNeeds UNKNOWN =
      new ProviderNeeds(List.of(), List.of(), Keeping.UNKNOWN);

  /** Where the keys are, and so what is left of them when this host is lost. */
  public enum Keeping {
    /** Somewhere else: they outlive this host. */
    ELSEWHERE,
    /** On this host, and in a backup. */
    HERE_WITH_BACKUP,
    /** On this host only: they are lost with it. */
    HERE_ONLY,
    /** The provider does not say. */
    UNKNOWN
  }

  /**
   * A server.
   *
   * @param name what people know it by, for example its host and port
   * @param health how it was when it was last asked
   * @param detail a sentence that says why; empty if it is well
   */
  public record Server(String name, ProviderStatus.Health health, String detail) {
    /** Keeps the parts. */
    public Server {
      Objects.requireNonNull(name);
      Objects.requireNonNull(health);
      Objects.requireNonNull(detail);
    }
  }

  /** Of a provider that could be opened again. */
  public ProviderNeeds(List<Server> servers, List<Path> files, Keeping keeping) {
    this(servers, files, keeping, "");
  }

  /** Copies the lists. */
  public ProviderNeeds {
    servers = List.copyOf(servers);
    files = List.copyOf(files);
    Objects.requireNonNull(keeping);
    Objects.requireNonNull(reopening);
  }
}
