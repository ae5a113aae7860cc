package io.filterd.kmip.client;

import io.filterd.kmip.EnumValue;
import io.filterd.kmip.KmipException;
import io.filterd.kmip.KmipRequest;
import io.filterd.kmip.KmipVersion;
import io.filterd.kmip.QueryFunction;
import io.filterd.kmip.ResultReason;
import io.filterd.kmip.client.KmsException.Reason;
import io.filterd.kmip.net.ConnectionPool.Repeat;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Finds the latest version that both sides speak, and remembers it. Safe for many threads; those
 * that come while one asks wait for its answer.
 */
final class Negotiation {
  /** The oldest message that can ask for versions, and one each server can read. */
  private static final KmipVersion COMMON = KmipVersion.V1_1;

  private final Channel channel;
  private final VersionRange range;
  private final Object asking = new Object();
  private volatile @Nullable KmipVersion found;

  Negotiation(Channel channel, VersionRange range) {
    this.channel = channel;
    this.range = range;
  }

  /** The version to speak. */
  KmipVersion version() throws KmsException {
    KmipVersion known = found;
    if (known != null) {
      return known;
    }
    synchronized (asking) {
      known = found;
      if (known == null) {
        known = negotiate();
        found = known;
      }
      return known;
    }
  }

  /** The version, if it is known already. */
  @Nullable KmipVersion known() {
    return found;
  }

  /** Asks anew the next time: the server is not what it was. */
  void forget() {
    found = null;
  }

  private KmipVersion negotiate() throws KmsException {
    if (range.maximum().isAtLeast(COMMON)) {
      // A server of 2.x only may refuse a message of 1.x.
      for (KmipVersion header : List.of(COMMON, range.maximum())) {
        List<KmipVersion> theirs = discover(header);
        if (theirs != null) {
          return best(theirs);
        }
      }
    }
    for (KmipVersion old : oldVersions()) {
      if (understands(old)) {
        return old;
      }
    }
    throw KmsException.of(
        Reason.PROTOCOL,
        channel.server(),
        "versions: none of "
            + range.versions()
            + " is understood (expected: one of those the server speaks)");
  }

  /** What the server speaks, or null if it does not understand the question. */
  private @Nullable List<KmipVersion> discover(KmipVersion header) throws KmsException {
    KmipRequest.DiscoverVersions question = new KmipRequest.DiscoverVersions(range.versions());
    try {
      return channel.ask(header, question, Repeat.ALLOWED, answer -> answer.versions());
    } catch (KmipException e) {
      checkAboutVersions(e);
      return null;
    }
  }

  private void checkAboutVersions(KmipException refusal) throws KmsException {
    if (!isAboutVersions(refusal)) {
      throw KmsException.of(channel.server(), refusal);
    }
  }

  private static boolean isAboutVersions(KmipException refusal) {
    @Nullable EnumValue<ResultReason> reason = refusal.reason();
    ResultReason known = reason == null ? null : reason.known();
    return known == ResultReason.OPERATION_NOT_SUPPORTED
        || known == ResultReason.INVALID_MESSAGE
        || known == ResultReason.INVALID_FIELD
        || known == ResultReason.FEATURE_NOT_SUPPORTED
        || known == ResultReason.UNSUPPORTED_PROTOCOL_VERSION;
  }

  private KmipVersion best(List<KmipVersion> theirs) throws KmsException {
    for (KmipVersion ours : range.versions()) {
      if (theirs.contains(ours)) {
        return ours;
      }
    }
    throw KmsException.of(
        Reason.PROTOCOL,
        channel.server(),
        "versions: the server speaks " + theirs + " (expected: one of " + range.versions() + ")");
  }

  /** Those that servers speak which can't tell: 1.1 with an optional operation missing, and 1.0. */
  private List<KmipVersion> oldVersions() {
    List<KmipVersion> old = new ArrayList<>();
    for (KmipVersion version : List.of(KmipVersion.V1_1, KmipVersion.V1_0)) {
      if (range.contains(version)) {
        old.add(version);
      }
    }
    return old;
  }

  private boolean understands(KmipVersion version) throws KmsException {
    KmipRequest.Query question = new KmipRequest.Query(Set.of(QueryFunction.SERVER_INFORMATION));
    try {
      return channel.ask(version, question, Repeat.ALLOWED, answer -> true);
    } catch (KmipException e) {
      checkAboutVersions(e);
      return false;
    }
  }
}
