package io.filterd.daemon.cli;

import io.filterd.daemon.Daemon;
import io.filterd.daemon.control.OperationException;
import java.util.concurrent.Callable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

/** {@code filterd serve}. */
@Command(
    name = "serve",
    description = "Run the daemon: serve the attached disks over NBD, take commands.",
    footer = {"", "Ctrl-C or SIGTERM: finish what is in flight, flush, close, wipe the keys."})
final class Serve implements Callable<Integer> {
  private static final Logger LOG = LoggerFactory.getLogger(Serve.class);

  @Mixin private Common common = new Common();

  @Override
  public Integer call() throws OperationException, InterruptedException {
    Daemon daemon = Daemon.start(common.loadConfig());
    closeOnSignal(daemon);
    daemon.awaitStop();
    return 0;
  }

  /** Closes the daemon when the process is told to end. */
  static void closeOnSignal(Daemon daemon) {
    Runtime.getRuntime()
        .addShutdownHook(
            Thread.ofPlatform()
                .name("stop")
                .unstarted(
                    () -> {
                      try {
                        daemon.close();
                      } catch (OperationException failure) {
                        LOG.error("{} {}", failure.getMessage(), failure.details());
                      }
                    }));
  }
}
