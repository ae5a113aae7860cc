package io.filterd.filter.qos;

import io.filterd.block.BlockDevice;
import io.filterd.filter.FilterClass;
import io.filterd.filter.FilterContext;
import io.filterd.filter.FilterFactory;
import io.filterd.filter.FilterParameter;
import io.filterd.filter.FilterSettings;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** Makes qos filters. */
public final class QosFilterFactory implements FilterFactory {
  private static final String OPERATIONS = "operations";
  private static final String BANDWIDTH = "bandwidth";
  private static final String BURST = "burst";

  /** After the longest request, of 32 MiB, the next one waits no more than half a minute. */
  private static final long LEAST_BYTES_PER_SECOND = 1 << 20;

  private enum RealTime implements QosFilter.Waiting {
    CLOCK;

    @Override
    public long nanoTime() {
      return System.nanoTime();
    }

    @Override
    public boolean awaitClose(CountDownLatch closed, long nanos) throws InterruptedException {
      return closed.await(nanos, TimeUnit.NANOSECONDS);
    }
  }

  @Override
  public String name() {
    return "qos";
  }

  @Override
  public FilterClass filterClass() {
    return FilterClass.QOS;
  }

  @Override
  public String description() {
    return "Keeps a disk within operations and bytes per second.";
  }

  @Override
  public List<FilterParameter> parameters() {
    return List.of(
        new FilterParameter(
            OPERATIONS,
            FilterParameter.Type.OPERATIONS_PER_SECOND,
            "0/s",
            1,
            100_000_000,
            "Reads, writes, zeros and trims per second; 0/s for no limit."),
        new FilterParameter(
            BANDWIDTH,
            FilterParameter.Type.BYTES_PER_SECOND,
            "0B/s",
            LEAST_BYTES_PER_SECOND,
            1L << 50,
            "Bytes read and written per second; 0B/s for no limit."),
        new FilterParameter(
            BURST,
            FilterParameter.Type.DURATION,
            "100ms",
            1,
            600_000,
            "How much an idle disk saves up, as a time at the full rate."));
  }

  @Override
  public BlockDevice create(FilterContext context, BlockDevice below) {
    FilterSettings settings = context.settings();
    return new QosFilter(
        below,
        settings.number(OPERATIONS),
        settings.number(BANDWIDTH),
        settings.duration(BURST),
        RealTime.CLOCK);
  }
}
