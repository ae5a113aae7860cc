package io.filterd.policy;

import io.filterd.policy.yaml.Problem;
import java.util.List;
import java.util.Optional;

/**
 * What became of a policy's text.
 *
 * @param policy the policy, if nothing is wrong
 * @param problems everything that is wrong, in the order of the lines
 */
public record PolicyResult(Optional<StoragePolicy> policy, List<Problem> problems) {
  /** Copies the list. */
  public PolicyResult {
    problems = List.copyOf(problems);
  }
}
