package io.filterd.daemon.cli;

import io.filterd.daemon.control.Operation;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.Requests;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Parameters;

/** {@code filterd connection}. */
@Command(
    name = "connection",
    description = "Show the clients that use disks.",
    subcommands = {ConnectionCommand.ListConnections.class, ConnectionCommand.Show.class})
final class ConnectionCommand {
  /** {@code filterd connection list}. */
  @Command(name = "list", description = "List the clients.")
  static final class ListConnections implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Override
    public Integer call() throws OperationException {
      common.output().print(common.call(Operation.CONNECTION_LIST, new Requests.None(), "list"));
      return 0;
    }
  }

  /** {@code filterd connection show}. */
  @Command(
      name = "show",
      description = "Describe a client, with how long its requests took by kind.")
  static final class Show implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Parameters(paramLabel = "ID", description = "Its number in the list.")
    private long id;

    @Override
    public Integer call() throws OperationException {
      Requests.Connection request = new Requests.Connection(id);
      common.output().print(common.call(Operation.CONNECTION_INFO, request, "connection " + id));
      return 0;
    }
  }
}
