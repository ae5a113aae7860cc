package io.filterd.nbd;

/**
 * The memory that one client costs: the data of its requests in hand, and replies that it has not
 * read. Charged first to a small allowance of the connection's own, then to the budget that all
 * connections share. Event-loop thread only.
 */
final class ClientMemory {
  /** What a connection may hold without asking the budget: the requests of a busy disk. */
  private static final int ALLOWANCE_BYTES = 64 << 10;

  private final ByteBudget budget;
  private final ByteBudget.Claim claim;
  private long inFlightBytes;
  private int allowanceUsed;

  /** What replies hold that were given to the socket and have not left yet. */
  private long unsentAllowance;

  private long unsentBudget;

  /**
   * The memory of a connection that holds nothing yet.
   *
   * @param granted called when the budget has what a request waits for: on any thread, under the
   *     budget's lock
   */
  ClientMemory(ByteBudget budget, Runnable granted) {
    this.budget = budget;
    this.claim = new ByteBudget.Claim(granted);
  }

  /** All that is charged, in bytes. */
  long inFlightBytes() {
    return inFlightBytes;
  }

  /** Whether unread replies hold some of what all share. */
  boolean unsentHoldsBudget() {
    return unsentBudget > 0;
  }

  /** Charges a request; false if it has to wait until the budget grants it, or {@link #retry}. */
  boolean take(Request request, int bytes) {
    request.heldBytes = bytes;
    request.heldFromBudget = allowanceUsed + bytes > ALLOWANCE_BYTES;
    if (!request.heldFromBudget) {
      allowanceUsed += bytes;
    } else if (!budget.take(claim, bytes)) {
      return false;
    }
    inFlightBytes += bytes;
    return true;
  }

  /** Whether a request that waits for the budget need not, the connection's own being enough. */
  boolean retry(Request request) {
    if (allowanceUsed + request.heldBytes > ALLOWANCE_BYTES || !budget.cancel(claim)) {
      return false;
    }
    request.heldFromBudget = false;
    allowanceUsed += request.heldBytes;
    inFlightBytes += request.heldBytes;
    return true;
  }

  /** The budget has granted what a request waited for. */
  void granted(Request request) {
    inFlightBytes += request.heldBytes;
  }

  /**
   * A request does not wait any longer.
   *
   * @return false if the budget is just granting it, and will say so
   */
  boolean cancel(Request request) {
    if (!budget.cancel(claim)) {
      return false;
    }
    request.heldBytes = 0;
    return true;
  }

  /** Gives back what the budget granted to a request that did not wait for it any longer. */
  void giveBack(Request request) {
    budget.give(request.heldBytes);
    request.heldBytes = 0;
  }

  /** What a request was charged is given back when its reply has left. */
  void holdUntilSent(Request request) {
    if (request.heldFromBudget) {
      unsentBudget += request.heldBytes;
    } else {
      unsentAllowance += request.heldBytes;
    }
    request.heldBytes = 0;
  }

  /** Gives back what a request was charged. */
  void release(Request request) {
    inFlightBytes -= request.heldBytes;
    if (request.heldFromBudget) {
      budget.give(request.heldBytes);
    } else {
      allowanceUsed -= request.heldBytes;
    }
    request.heldBytes = 0;
  }

  /** Every reply has left. */
  void allSent() {
    long shared = unsentBudget;
    inFlightBytes -= unsentAllowance + shared;
    allowanceUsed -= (int) unsentAllowance;
    unsentAllowance = 0;
    unsentBudget = 0;
    if (shared > 0) {
      budget.give(shared);
    }
  }
}
