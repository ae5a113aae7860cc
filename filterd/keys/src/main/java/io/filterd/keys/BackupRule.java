package io.filterd.keys;

/** Whether a native provider must have a backup before it makes its first key. */
public enum BackupRule {
  /** It must: losing the state file must not lose the disks. */
  REQUIRED,
  /** The operator takes the risk, for example for a demonstration. */
  WAIVED
}
