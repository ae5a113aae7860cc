package io.filterd.nbd;

/**
 * A metadata context that a client has chosen.
 *
 * @param id what the client knows it by
 */
record ChosenContext(int id, MetaContext context) {}
