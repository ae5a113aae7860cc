package io.filterd.block;

/** What a part of a range is. */
public enum ExtentKind {
  /** Bytes are stored for it. */
  DATA,
  /** It reads as zeros, and no bytes that a filter may transform are stored for it. */
  ZERO,
  /** This link of a chain knows nothing of it: ask the parent. Without a parent it is zeros. */
  ABSENT
}
