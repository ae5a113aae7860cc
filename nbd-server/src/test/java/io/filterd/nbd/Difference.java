package io.filterd.nbd;

import static io.filterd.nbd.wire.Protocol.NBD_CMD_BLOCK_STATUS;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLAG_FUA;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_TRIM;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_WRITE;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_WRITE_ZEROES;
import static io.filterd.nbd.wire.Protocol.NBD_EINVAL;
import static io.filterd.nbd.wire.Protocol.NBD_ENOSPC;
import static io.filterd.nbd.wire.Protocol.NBD_EPERM;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_SEND_FUA;
import static io.filterd.nbd.wire.Protocol.NBD_OK;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_LIST;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_STRUCTURED_REPLY;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ACK;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_INVALID;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_UNKNOWN;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/** How other servers differ from this one, where it is known: the rows of docs/differences.md. */
enum Difference {
  NBDKIT_EMPTY_REQUEST(Peer.NBDKIT),
  NBDKIT_RANGE_BEFORE_FLAGS(Peer.NBDKIT),
  NBDKIT_ANY_EXPORT(Peer.NBDKIT),
  NBDKIT_LISTS_ONCE(Peer.NBDKIT),
  NBDKIT_INFO_FORGETS_CONTEXTS(Peer.NBDKIT),
  QEMU_PAST_THE_END(Peer.QEMU),
  QEMU_READ_ONLY(Peer.QEMU),
  QEMU_FUA_WHERE_NOTHING_IS_WRITTEN(Peer.QEMU),
  QEMU_STRUCTURED_REPLIES_ONCE(Peer.QEMU);

  /** Who differs. */
  enum Peer {
    NBDKIT,
    QEMU
  }

  /**
   * An answer that two servers give differently: to an option, a request, or (neither) what the
   * export's flags are.
   */
  record Seen(
      Peer peer,
      Script script,
      Script.@Nullable Option option,
      Script.@Nullable Ask ask,
      int ours,
      int theirs) {
    private boolean is(int oursExpected, int theirsExpected) {
      return ours == oursExpected && theirs == theirsExpected;
    }

    @Override
    public String toString() {
      String what = option != null ? option.toString() : ask != null ? ask.toString() : "flags";
      return "script "
          + script.seed()
          + (script.readOnly() ? ", read-only, " : ", ")
          + what
          + ": ours "
          + Integer.toHexString(ours)
          + ", "
          + peer
          + " "
          + Integer.toHexString(theirs);
    }
  }

  private final Peer peer;

  Difference(Peer peer) {
    this.peer = peer;
  }

  /** The difference that this is, or null if it is a new one. */
  static @Nullable Difference of(Seen seen) {
    return Arrays.stream(values())
        .filter(each -> each.peer == seen.peer() && each.explains(seen))
        .findFirst()
        .orElse(null);
  }

  private boolean explains(Seen seen) {
    return switch (this) {
      case NBDKIT_EMPTY_REQUEST ->
          seen.ask() != null
              && seen.ask().length() == 0
              && seen.is(NBD_OK, needsSpace(seen.ask()) ? NBD_ENOSPC : NBD_EINVAL);
      case NBDKIT_RANGE_BEFORE_FLAGS ->
          seen.ask() != null
              && needsSpace(seen.ask())
              && seen.ask().flags() != 0
              && seen.is(NBD_EINVAL, NBD_ENOSPC);
      case NBDKIT_ANY_EXPORT ->
          seen.option() != null
              && seen.option().about().contains("another export")
              && seen.ours() == NBD_REP_ERR_UNKNOWN
              && (seen.theirs() & 0xff) == NBD_REP_ACK;
      case NBDKIT_LISTS_ONCE -> refusesTheSecond(seen, NBD_OPT_LIST);
      case NBDKIT_INFO_FORGETS_CONTEXTS ->
          seen.ask() != null
              && seen.ask().command() == NBD_CMD_BLOCK_STATUS
              && seen.script().options().stream()
                  .anyMatch(each -> each.about().contains("another export"))
              && seen.is(NBD_OK, NBD_EINVAL);
      case QEMU_PAST_THE_END ->
          seen.ask() != null && needsSpace(seen.ask()) && seen.is(NBD_ENOSPC, NBD_EINVAL);
      case QEMU_READ_ONLY ->
          seen.ask() != null
              && seen.script().readOnly()
              && (needsSpace(seen.ask()) || seen.ask().command() == NBD_CMD_TRIM)
              && seen.is(NBD_EPERM, NBD_EINVAL);
      case QEMU_FUA_WHERE_NOTHING_IS_WRITTEN ->
          seen.script().readOnly()
              && (seen.ask() == null
                  ? seen.option() == null && (seen.ours() ^ seen.theirs()) == NBD_FLAG_SEND_FUA
                  : seen.ask().flags() == NBD_CMD_FLAG_FUA && seen.is(NBD_EINVAL, NBD_OK));
      case QEMU_STRUCTURED_REPLIES_ONCE -> refusesTheSecond(seen, NBD_OPT_STRUCTURED_REPLY);
    };
  }

  private static boolean needsSpace(Script.Ask ask) {
    return ask.command() == NBD_CMD_WRITE || ask.command() == NBD_CMD_WRITE_ZEROES;
  }

  private static boolean refusesTheSecond(Seen seen, int option) {
    return seen.option() != null
        && seen.option().number() == option
        && seen.script().options().stream().filter(each -> each.number() == option).count() > 1
        && seen.is(NBD_REP_ACK, NBD_REP_ERR_INVALID);
  }
}
