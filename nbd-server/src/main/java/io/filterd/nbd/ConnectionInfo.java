package io.filterd.nbd;

import java.util.List;

/**
 * One client in the transmission phase, at about this moment.
 *
 * @param id its number, which no other connection of this server has
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
 * @param ageMillis how long it has used the export
 * @param idleMillis how long ago its last request was answered
 * @param commands what it has asked for, and how long that took
 */
public record ConnectionInfo(
    long id,
    String peer,
    String export,
    boolean readOnly,
    boolean structuredReplies,
    boolean blockStatus,
    long requests,
    long errors,
    long bytesRead,
    long bytesWritten,
    int inFlight,
    long ageMillis,
    long idleMillis,
    List<CommandFigures> commands) {}
