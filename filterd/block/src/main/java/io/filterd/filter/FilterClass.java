package io.filterd.filter;

/**
 * The place of a filter in the pipeline. Filters run in the order of these constants, the first
 * nearest the client; a pipeline holds at most one filter of a class.
 */
public enum FilterClass {
  /** Looks and counts; changes nothing. */
  INSPECTION,
  /** Delays requests. */
  QOS,
  /** Answers from a faster copy. */
  CACHE,
  /** Sends a copy elsewhere. */
  REPLICATION,
  /** Turns plaintext into ciphertext. Stands per link, under the chain. */
  ENCRYPTION,
  /** Authenticates what is stored. Stands below encryption. */
  INTEGRITY;

  /** Whether a filter of this class is shown plaintext when the pipeline encrypts. */
  public boolean seesPlaintext() {
    return compareTo(ENCRYPTION) <= 0;
  }
}
