package io.filterd.daemon.control;

/** Carries out operations: in this process, or by asking the daemon. Safe for many threads. */
public interface Operations {
  /**
   * Carries out an operation.
   *
   * @param progress told how far it is, if it is long
   */
  <A, R> R call(Operation<A, R> operation, A arguments, Progress progress)
      throws OperationException;
}
