package io.filterd.crypto;

import java.util.ArrayList;
import java.util.List;

/** The engines that there are. */
public final class XtsEngines {
  /** Stands for the fastest engine here that keeps keys off the heap. */
  public static final String AUTO = "auto";

  // The fastest first: bench/results/xts-engines.md.
  private static final List<Candidate> CANDIDATES =
      List.of(
          new Candidate("libgcrypt", true, () -> LibGcrypt.system()::xts),
          new Candidate("openssl", true, () -> LibCrypto.system()::xts),
          new Candidate("portable", false, () -> PortableContext::of));

  private XtsEngines() {}

  /**
   * The engine of this name.
   *
   * @param name {@link #AUTO} or one of {@link #names}
   * @throws IllegalArgumentException if there is no such engine, or not on this system; the message
   *     lists those that are here
   */
  public static XtsEngine byName(String name) {
    return find(name);
  }

  /** A context of an engine, for tests with units and tweaks that no disk has. */
  static XtsContext context(String name, SecretBytes dek) {
    return find(name).maker.make(dek);
  }

  private static Engine find(String name) {
    List<String> problems = new ArrayList<>();
    for (Candidate candidate : CANDIDATES) {
      boolean wanted = name.equals(AUTO) ? candidate.keepsKeysOffHeap : name.equals(candidate.name);
      if (wanted) {
        try {
          return candidate.engine();
        } catch (IllegalStateException missing) {
          problems.add(missing.getMessage());
        }
      }
    }
    throw new IllegalArgumentException(
        "engine: "
            + name
            + (problems.isEmpty() ? "" : ": " + String.join("; ", problems))
            + " (expected: auto, or one of those here: "
            + String.join(", ", available())
            + ")");
  }

  /** The names of all engines, the fastest first. */
  public static List<String> names() {
    return CANDIDATES.stream().map(Candidate::name).toList();
  }

  /** The names of the engines that work on this system, the fastest first. */
  public static List<String> available() {
    return CANDIDATES.stream().filter(Candidate::isHere).map(Candidate::name).toList();
  }

  /** An engine that may turn out to need a library that is not here. */
  private record Candidate(String name, boolean keepsKeysOffHeap, Library library) {
    Engine engine() {
      return new Engine(name, keepsKeysOffHeap, library.load());
    }

    boolean isHere() {
      try {
        library.load();
        return true;
      } catch (IllegalStateException missing) {
        return false;
      }
    }
  }

  @FunctionalInterface
  private interface Library {
    /** What expands keys; throws {@link IllegalStateException} if the library is missing. */
    XtsContext.Maker load();
  }

  private record Engine(String name, boolean keepsKeysOffHeap, XtsContext.Maker maker)
      implements XtsEngine {
    @Override
    public SectorCipher cipher(SecretBytes dek, int unitBytes) {
      return new PooledCipher(maker, dek, unitBytes);
    }

    @Override
    public String toString() {
      return "XtsEngine[" + name + "]";
    }
  }
}
