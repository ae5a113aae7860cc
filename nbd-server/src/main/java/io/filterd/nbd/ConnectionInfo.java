package io.filterd.nbd;

/**
 * One client at this moment.
 *
 * @param peer its address
 * @param export the export it uses
 * @param readOnly whether it may only read
 * @param structuredReplies whether it asked for structured replies
 * @param requests requests answered so far
 * @param bytesRead data sent to it
 * @param bytesWritten data taken from it
 * @param inFlight requests being worked on
 */
public record ConnectionInfo(
    String peer,
    String export,
    boolean readOnly,
    boolean structuredReplies,
    long requests,
    long bytesRead,
    long bytesWritten,
    int inFlight) {}
