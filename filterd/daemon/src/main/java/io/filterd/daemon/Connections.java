package io.filterd.daemon;

import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import io.filterd.daemon.control.Results;
import io.filterd.nbd.CommandFigures;
import io.filterd.nbd.ConnectionInfo;
import io.filterd.nbd.NbdServer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/** Says who uses the disks. Changes nothing. */
final class Connections {
  private final Path controlSocket;
  private volatile @Nullable NbdServer server;

  Connections(Path controlSocket) {
    this.controlSocket = controlSocket;
  }

  /** From now on there may be clients. */
  void serving(NbdServer nbd) {
    server = nbd;
  }

  /** Every client that uses a disk, in the order in which they came. */
  Results.Connections list() throws OperationException {
    return new Results.Connections(
        connections().stream()
            .sorted(Comparator.comparingLong(ConnectionInfo::id))
            .map(Connections::result)
            .toList());
  }

  /** All of one client. */
  Results.ConnectionDetails details(long id) throws OperationException {
    ConnectionInfo connection =
        connections().stream()
            .filter(each -> each.id() == id)
            .findFirst()
            .orElseThrow(
                () ->
                    new OperationException(
                        Code.NOT_FOUND,
                        "no connection "
                            + id
                            + ": `filterd connection list` shows those there are"));
    return new Results.ConnectionDetails(
        result(connection), connection.commands().stream().map(Connections::latencies).toList());
  }

  private List<ConnectionInfo> connections() throws OperationException {
    NbdServer serving = server;
    if (serving == null) {
      throw new OperationException(
          Code.UNAVAILABLE, "no daemon answers on " + controlSocket + ": start `filterd serve`");
    }
    return serving.connections();
  }

  private static Results.Connection result(ConnectionInfo connection) {
    List<String> features = new ArrayList<>();
    if (connection.structuredReplies()) {
      features.add("structured-replies");
    }
    if (connection.blockStatus()) {
      features.add("block-status");
    }
    return new Results.Connection(
        connection.id(),
        connection.peer(),
        connection.export(),
        connection.readOnly(),
        features,
        connection.requests(),
        connection.errors(),
        connection.bytesRead(),
        connection.bytesWritten(),
        connection.inFlight(),
        connection.ageMillis(),
        connection.idleMillis());
  }

  private static Results.Latencies latencies(CommandFigures figures) {
    List<Results.Bucket> histogram = new ArrayList<>();
    int last = figures.buckets().size() - 1;
    for (int i = 0; i <= last; i++) {
      Long limit = i == last ? null : Long.valueOf(CommandFigures.limitMicros(i));
      histogram.add(new Results.Bucket(limit, figures.buckets().get(i)));
    }
    return new Results.Latencies(
        figures.command(),
        figures.requests(),
        TimeUnit.NANOSECONDS.toMicros(figures.meanNanos()),
        percentile(figures, 500),
        percentile(figures, 990),
        histogram);
  }

  private static @Nullable Long percentile(CommandFigures figures, int perMille) {
    long micros = figures.percentileMicros(perMille);
    return micros < 0 ? null : Long.valueOf(micros);
  }
}
