package io.filterd.inventory;

/** The inventory can't be used; the message says why and what to do. */
public final class InventoryException extends Exception {
  private static final long serialVersionUID = 1L;

  /** A failure with a sentence. */
  public InventoryException(String message) {
    super(message);
  }

  /** A failure with a sentence and what led to it. */
  public InventoryException(String message, Throwable cause) {
    super(message, cause);
  }
}
