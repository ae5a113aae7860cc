package io.filterd.nbd;

/**
 * One client in the transmission phase, at about this moment.
 *
 * @param peer its address; for a Unix socket its process and user, where the kernel says so
 * @param export the export it uses, by its own name
 * @param readOnly whether it may only read
 * @param structuredReplies whether it asked for structured replies
 * @param blockStatus whether it asked for the context base:allocation
 * @param requests requests answered so far
 * @param errors how many of them with an error
 * @param bytesRead data sent to it
 * @param bytesWritten data taken from it
 * @param inFlight requests being worked on
 */
public record ConnectionInfo(
    String peer,
    String export,
    boolean readOnly,
    boolean structuredReplies,
    boolean blockStatus,
    long requests,
    long errors,
    long bytesRead,
    long bytesWritten,
    int inFlight) {}
