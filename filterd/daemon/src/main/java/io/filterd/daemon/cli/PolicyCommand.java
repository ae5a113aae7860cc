package io.filterd.daemon.cli;

import io.filterd.daemon.PolicyCheck;
import io.filterd.daemon.control.Operation;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.Requests;
import io.filterd.daemon.control.Results;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Parameters;

/** {@code filterd policy}. */
@Command(
    name = "policy",
    description = "Check, list and apply storage policies.",
    subcommands = {
      PolicyCommand.Check.class,
      PolicyCommand.Apply.class,
      PolicyCommand.ListPolicies.class
    })
final class PolicyCommand {
  /** {@code filterd policy check}. */
  @Command(
      name = "check",
      description = "Check policy files: every problem with its file, line and key.")
  static final class Check implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Parameters(arity = "1..*", paramLabel = "FILE", description = "The policies.")
    private List<Path> files = List.of();

    @Override
    public Integer call() throws OperationException {
      common.output().print(new Results.Done(PolicyCheck.check(files)));
      return 0;
    }
  }

  /** {@code filterd policy apply}. */
  @Command(
      name = "apply",
      description = "Give a disk another policy; an attached disk's filters change at once.")
  static final class Apply implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Parameters(index = "0", paramLabel = "VM/DISK", description = "The disk.")
    private String name = "";

    @Parameters(index = "1", paramLabel = "POLICY", description = "The policy's name.")
    private String policy = "";

    @Override
    public Integer call() throws OperationException {
      Requests.ApplyPolicy request = new Requests.ApplyPolicy(name, policy);
      common.output().print(common.call(Operation.POLICY_APPLY, request, name));
      return 0;
    }
  }

  /** {@code filterd policy list}. */
  @Command(name = "list", description = "List the policies, and how many disks have each.")
  static final class ListPolicies implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Override
    public Integer call() throws OperationException {
      common.output().print(common.call(Operation.POLICY_LIST, new Requests.None(), "list"));
      return 0;
    }
  }
}
