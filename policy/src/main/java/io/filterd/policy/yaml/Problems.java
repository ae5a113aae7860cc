package io.filterd.policy.yaml;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/** Collects what is wrong in one file, so that all of it is told at once. For one thread. */
public final class Problems {
  /** A file with more problems than this is no file of ours. */
  private static final int MAX_PROBLEMS = 200;

  private final String file;
  private final List<Problem> problems = new ArrayList<>();
  private int untold;

  /** Collects for this file. */
  public Problems(String file) {
    this.file = file;
  }

  /** Adds a problem; {@link Problem} says what the parameters mean. */
  public void add(int line, String key, String message) {
    if (problems.size() < MAX_PROBLEMS) {
      problems.add(new Problem(file, line, key, message));
    } else {
      untold++;
    }
  }

  /** Whether nothing is wrong so far. */
  public boolean isEmpty() {
    return problems.isEmpty();
  }

  /** The problems in the order of their lines; of very many, the first ones and a count. */
  public List<Problem> list() {
    List<Problem> list = new ArrayList<>(problems);
    list.sort(Comparator.comparingInt(Problem::line));
    if (untold > 0) {
      list.add(new Problem(file, 0, "", "and " + untold + " more"));
    }
    return list;
  }
}
