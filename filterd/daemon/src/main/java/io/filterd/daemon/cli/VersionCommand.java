package io.filterd.daemon.cli;

import io.filterd.crypto.XtsEngines;
import io.filterd.daemon.control.Results;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

/** {@code filterd version}. */
@Command(name = "version", description = "Print the version, and the cipher's engine.")
final class VersionCommand implements Callable<Integer> {
  static final String VERSION = "0.1.0";

  @Mixin private Common common = new Common();

  @Override
  public Integer call() {
    common
        .output()
        .print(
            new Results.Version(
                VERSION,
                String.valueOf(System.getProperty("java.version")),
                XtsEngines.byName(XtsEngines.AUTO).name(),
                false));
    return 0;
  }
}
