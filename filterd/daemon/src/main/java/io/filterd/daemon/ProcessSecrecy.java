package io.filterd.daemon;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.util.Optional;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Keeps the process's memory out of core dumps: a dump would hold what secret memory does not. */
final class ProcessSecrecy {
  private static final Logger LOG = LoggerFactory.getLogger(ProcessSecrecy.class);
  private static final int PR_SET_DUMPABLE = 4;

  private ProcessSecrecy() {}

  /** Makes the process undumpable, where the system can; a warning where it can't. */
  static void apply() {
    Linker linker = Linker.nativeLinker();
    SymbolLookup lookup = linker.defaultLookup();
    Optional<MemorySegment> prctl = lookup.find("prctl");
    if (prctl.isEmpty()) {
      LOG.warn("this system has no prctl: core dumps of filterd are not prevented");
      return;
    }
    try {
      int result =
          (int)
              linker
                  .downcallHandle(
                      prctl.get(),
                      FunctionDescriptor.of(
                          ValueLayout.JAVA_INT, ValueLayout.JAVA_INT, ValueLayout.JAVA_LONG),
                      Linker.Option.firstVariadicArg(1))
                  .invokeExact(PR_SET_DUMPABLE, 0L);
      if (result != 0) {
        LOG.warn("prctl failed: core dumps of filterd are not prevented");
      }
    } catch (Throwable impossible) {
      throw new IllegalStateException(impossible);
    }
  }
}
