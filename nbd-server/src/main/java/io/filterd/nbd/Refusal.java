package io.filterd.nbd;

/**
 * Why a request is answered with an error, without being tried.
 *
 * @param error the protocol's error number
 * @param message a sentence for people
 */
record Refusal(int error, String message) {}
