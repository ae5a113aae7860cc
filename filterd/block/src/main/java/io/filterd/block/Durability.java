package io.filterd.block;

/** When a change is on stable storage. */
public enum Durability {
  /** After the next flush. */
  BUFFERED,
  /** When the operation returns (NBD_CMD_FLAG_FUA). */
  DURABLE
}
