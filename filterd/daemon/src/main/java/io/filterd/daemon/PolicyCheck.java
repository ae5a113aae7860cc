package io.filterd.daemon;

import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import io.filterd.policy.FilterCatalog;
import io.filterd.policy.yaml.Problem;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Checks policy files against the filters there are. */
public final class PolicyCheck {
  private PolicyCheck() {}

  /**
   * Checks all files.
   *
   * @return a sentence if nothing is wrong
   * @throws OperationException with every problem of every file
   */
  public static String check(List<Path> files) throws OperationException {
    FilterCatalog catalog = FilterRegistry.load().catalog();
    List<String> problems = new ArrayList<>();
    for (Path file : files) {
      try {
        PolicyFolder.check(file, catalog).problems().stream()
            .map(Problem::toString)
            .forEach(problems::add);
      } catch (OperationException unreadable) {
        if (files.size() == 1) {
          throw unreadable;
        }
        problems.add(unreadable.getMessage());
      }
    }
    if (!problems.isEmpty()) {
      throw new OperationException(
          Code.INVALID, "found " + problems.size() + " problem(s):", problems);
    }
    return files.size() == 1
        ? "The policy is good."
        : "All " + files.size() + " policies are good.";
  }
}
