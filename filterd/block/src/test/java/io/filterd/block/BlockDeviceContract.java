package io.filterd.block;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;
import static org.assertj.core.api.Assertions.fail;

import io.filterd.block.BlockException.Reason;
import io.filterd.block.FaultyDevice.Fault;
import java.nio.ByteBuffer;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SortedSet;
import java.util.SplittableRandom;
import java.util.TreeSet;
import java.util.function.UnaryOperator;
import java.util.random.RandomGenerator;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * What every {@link BlockDevice} does, and every stack of them. A subclass says how to make the
 * device, and declares by the other protected methods in which of the allowed ways it differs.
 *
 * <p>What is random comes from one seed, which every failure names; {@code -Dtest.seed=N} repeats
 * it, but for the order in which threads ran.
 */
@Timeout(120)
public abstract class BlockDeviceContract {
  private static final long SEED = Long.getLong("test.seed", new SecureRandom().nextInt());

  /**
   * Makes a new device under test of {@code sizeBytes} bytes. It is closed by the test.
   *
   * @param below to be called once on each device at the very bottom of the stack, and what it
   *     returns used in its place: the tests put misbehaving devices there. To be ignored if there
   *     is nothing below ({@link #hasBelow})
   */
  protected abstract BlockDevice create(long sizeBytes, UnaryOperator<BlockDevice> below)
      throws Exception;

  /** The size that most tests use, in bytes. */
  protected int sizeBytes() {
    return 1 << 17;
  }

  /** What a new device of {@link #sizeBytes} holds. */
  protected byte[] initialContents() {
    return new byte[sizeBytes()];
  }

  /** Whether a new device holds no data anywhere. */
  protected boolean startsUnwritten() {
    return true;
  }

  /** Whether {@link #create} uses its parameter {@code below}. */
  protected boolean hasBelow() {
    return true;
  }

  /**
   * Opens again the device that {@link #create} made last, after it was closed; null if it does not
   * outlive that.
   */
  protected @Nullable BlockDevice reopen() throws Exception {
    return null;
  }

  /** A size beyond 4 GiB that {@link #create} takes at little cost, in bytes; 0 if none. */
  protected long largeSizeBytes() {
    return (5L << 30) + (3 << 16);
  }

  /**
   * Whether a read at the time of an overlapping write may see a minimum block that is partly old
   * and partly new, as it may in the files of Linux.
   */
  protected boolean tearsReads() {
    return false;
  }

  /** Distances between boundaries inside the device, in bytes, which its info does not tell. */
  protected List<Integer> internalBoundaries() {
    return List.of();
  }

  /** The number of operations of a model test. */
  protected int modelSteps() {
    return 2000;
  }

  /** Called after a device was closed, to check that nothing was left behind. */
  protected void checkNothingLeaks() {}

  // Ranges

  @Test
  void namesItsSize() throws Exception {
    try (BlockDevice device = open()) {
      assertThat(device.info().sizeBytes()).isEqualTo(sizeBytes());
    }
  }

  @Test
  void marksZerosOnlyIfItTracksThem() throws Exception {
    try (BlockDevice device = open()) {
      if (device.info().can(Capability.MARKS_ZEROS)) {
        assertThat(device.info().capabilities()).contains(Capability.TRACKS_ZEROS);
      }
    }
  }

  @Test
  void refusesRangesOutsideOfIt() throws Exception {
    try (BlockDevice device = open()) {
      int minimum = device.info().blockSizes().minimum();
      long size = device.info().sizeBytes();

      refuses(device, -minimum, minimum);
      refuses(device, Math.ceilDiv(size, minimum) * minimum, minimum);
      refuses(device, size / minimum * minimum, 2 * minimum);
      refuses(device, Long.MAX_VALUE / minimum * minimum, minimum);
      refuses(device, Long.MIN_VALUE, minimum);
      for (long length : new long[] {Long.MAX_VALUE, Long.MIN_VALUE, -minimum}) {
        invalid(() -> device.extents(minimum, length, Blocking.ALLOWED));
      }
    }
  }

  @Test
  void refusesEmptyRanges() throws Exception {
    try (BlockDevice device = open()) {
      refuses(device, 0, 0);
      refuses(device, device.info().sizeBytes(), 0);
    }
  }

  @Test
  void refusesRangesThatAreNotAligned() throws Exception {
    try (BlockDevice device = open()) {
      int minimum = device.info().blockSizes().minimum();
      for (int part = 1; part < minimum; part *= 2) {
        refuses(device, part, minimum);
        refuses(device, 0, part);
        refuses(device, minimum, minimum + part);
      }
    }
  }

  @Test
  void refusesTransfersThatAreTooLong() throws Exception {
    try (BlockDevice device = open()) {
      BlockSizes sizes = device.info().blockSizes();
      long length = (long) sizes.maximum() + sizes.minimum();
      if (length > device.info().sizeBytes()) {
        return;
      }
      ByteBuffer buffer = ByteBuffer.allocateDirect((int) length);

      invalid(() -> device.read(0, buffer, Blocking.ALLOWED));
      if (device.info().can(Capability.WRITE)) {
        invalid(() -> device.write(0, buffer, Durability.BUFFERED, Blocking.ALLOWED));
      }

      assertThat(buffer.position()).isZero();
      assertThat(buffer.limit()).isEqualTo((int) length);
    }
  }

  private static void refuses(BlockDevice device, long offset, int length) {
    ByteBuffer buffer = ByteBuffer.allocateDirect(length);
    for (Blocking blocking : Blocking.values()) {
      invalid(() -> device.read(offset, buffer, blocking));
      invalid(() -> device.extents(offset, length, blocking));
      if (device.info().can(Capability.WRITE)) {
        invalid(() -> device.write(offset, buffer, Durability.BUFFERED, blocking));
        invalid(() -> device.trim(offset, length, Durability.BUFFERED, blocking));
        for (ZeroMode mode : ZeroMode.values()) {
          invalid(() -> device.zero(offset, length, mode, Durability.BUFFERED, blocking));
        }
      }
    }
    assertThat(buffer.position()).isZero();
    assertThat(buffer.limit()).isEqualTo(length);
  }

  @FunctionalInterface
  private interface Operation {
    Object make() throws BlockException;
  }

  private static void invalid(Operation operation) {
    assertThat(failure(operation).reason()).isEqualTo(Reason.INVALID_REQUEST);
  }

  private static BlockException failure(Operation operation) {
    BlockException failure = catchThrowableOfType(BlockException.class, operation::make);
    assertThat(failure).as("failure").isNotNull();
    return failure;
  }

  @Test
  void takesNoChangesIfItIsReadOnly() throws Exception {
    try (BlockDevice device = open()) {
      if (device.info().can(Capability.WRITE)) {
        return;
      }
      int length = device.info().blockSizes().minimum();
      ByteBuffer source = ByteBuffer.allocateDirect(length);
      ZeroMode mode = ZeroMode.MAY_DEALLOCATE;
      for (Operation change :
          List.<Operation>of(
              () -> device.write(0, source, Durability.BUFFERED, Blocking.ALLOWED),
              () -> device.zero(0, length, mode, Durability.BUFFERED, Blocking.ALLOWED),
              () -> device.trim(0, length, Durability.BUFFERED, Blocking.ALLOWED))) {
        assertThat(failure(change).reason()).isEqualTo(Reason.READ_ONLY);
      }
      model(device).verify();
    }
  }

  // Contents

  @Test
  void holdsItsInitialContents() throws Exception {
    check(ModelledDevice::verify);
  }

  @Test
  void readsBackWhatWasWrittenAcrossBoundaries() throws Exception {
    checkChanges(
        model -> {
          int minimum = model.info().blockSizes().minimum();
          for (int boundary : boundaries(model.info())) {
            for (int place : places(boundary)) {
              for (int before : new int[] {0, minimum, 5 * minimum}) {
                for (int after : new int[] {minimum, 3 * minimum}) {
                  Range range = clip(model, place - before, place + after, Integer.MAX_VALUE);
                  model.write(range.offset, range.length, Durability.BUFFERED, Blocking.ALLOWED);
                  Range wider =
                      clip(model, place - before - minimum, place + after + minimum, 1 << 20);
                  model.read(wider.offset, wider.length, Blocking.ALLOWED);
                }
              }
            }
          }
          model.verify();
        });
  }

  /** The first, some in the middle, and the last, of boundaries that are so many bytes apart. */
  private SortedSet<Integer> places(int distance) {
    int count = Math.ceilDiv(sizeBytes(), distance);
    SortedSet<Integer> places = new TreeSet<>();
    places.addAll(List.of(0, distance, count / 2 * distance, (count - 1) * distance, sizeBytes()));
    return places;
  }

  private SortedSet<Integer> boundaries(DeviceInfo info) {
    SortedSet<Integer> boundaries = new TreeSet<>(internalBoundaries());
    boundaries.add(info.blockSizes().minimum());
    boundaries.add(info.blockSizes().preferred());
    boundaries.add(info.blockSizes().maximum());
    boundaries.add(info.allocationUnitBytes());
    boundaries.removeIf(boundary -> boundary >= sizeBytes());
    return boundaries;
  }

  @Test
  void takesTheLongestTransfers() throws Exception {
    checkChanges(
        model -> {
          Range longest = clip(model, 0, model.sizeBytes(), Integer.MAX_VALUE);
          model.write(0, longest.length, Durability.DURABLE, Blocking.ALLOWED);
          model.read(0, longest.length, Blocking.ALLOWED);
          model.verify();
        });
  }

  @ParameterizedTest
  @EnumSource
  void zeroesAnyRange(ZeroMode mode) throws Exception {
    checkChanges(
        model -> {
          for (int round = 0; round < 10; round++) {
            fill(model);
            for (int i = 0; i < 5; i++) {
              Range range = range(model, Integer.MAX_VALUE);
              Durability durability = durability(model);
              model.zero(range.offset, range.length, mode, durability, Blocking.ALLOWED);
              model.verify();
              // Once more, over what is zeros already.
              model.zero(range.offset, range.length, mode, durability, Blocking.ALLOWED);
              model.verify(range.offset, range.length);
            }
          }
          model.zero(0, model.sizeBytes(), mode, Durability.BUFFERED, Blocking.ALLOWED);
          model.verify();
        });
  }

  @Test
  void trimsAnyRange() throws Exception {
    checkChanges(
        model -> {
          for (int round = 0; round < 10; round++) {
            fill(model);
            for (int i = 0; i < 5; i++) {
              Range range = range(model, Integer.MAX_VALUE);
              model.trim(range.offset, range.length, durability(model), Blocking.ALLOWED);
              model.verify();
            }
          }
          model.trim(0, model.sizeBytes(), Durability.BUFFERED, Blocking.ALLOWED);
          model.verify();
        });
  }

  private void fill(ModelledDevice model) throws BlockException {
    int maximum = model.info().blockSizes().maximum();
    for (int at = 0; at < model.sizeBytes(); at += maximum) {
      Range range = clip(model, at, at + maximum, maximum);
      byte[] data = new byte[range.length];
      model.random().nextBytes(data);
      model.write(range.offset, data, Durability.BUFFERED, Blocking.ALLOWED);
    }
  }

  @Test
  void holdsWhatWasFlushedWhenOpenedAgain() throws Exception {
    byte[] contents = initialContents();
    try (BlockDevice device = open()) {
      if (!device.info().can(Capability.WRITE)) {
        return;
      }
      ModelledDevice model = new ModelledDevice(device, contents, false, random());
      for (int i = 0; i < 50; i++) {
        step(model);
      }
      model.flush(Blocking.ALLOWED);
      // Close flushes: what comes after the last flush is kept as well.
      step(model);
    }
    checkNothingLeaks();
    BlockDevice again = reopen();
    if (again != null) {
      try (BlockDevice device = new CheckedDevice(again)) {
        new ModelledDevice(device, contents, false, random()).verify();
      }
    }
  }

  @Test
  void reachesBeyondFourGibibytes() throws Exception {
    long size = largeSizeBytes();
    if (size == 0) {
      return;
    }
    try (BlockDevice device = new CheckedDevice(create(size, UnaryOperator.identity()))) {
      assertThat(device.info().sizeBytes()).isEqualTo(size);
      int length = device.info().blockSizes().minimum();
      long beyond = (1L << 32) + length;
      long last = (size - 1) / length * length;
      int lastLength = (int) (size - last);

      device.write(beyond, filled(length, 0x11), Durability.BUFFERED, Blocking.ALLOWED);
      device.write(last, filled(lastLength, 0x22), Durability.BUFFERED, Blocking.ALLOWED);
      device.flush(Blocking.ALLOWED);

      assertThat(read(device, beyond, length)).containsOnly(0x11);
      assertThat(read(device, last, lastLength)).containsOnly(0x22);
      assertThat(read(device, length, length)).containsOnly(0);
      assertThat(read(device, beyond + length, length)).containsOnly(0);
      ZeroMode mode = ZeroMode.MAY_DEALLOCATE;
      device.zero(0, size, mode, Durability.BUFFERED, Blocking.ALLOWED);
      assertThat(read(device, beyond, length)).containsOnly(0);
      assertThat(read(device, last, lastLength)).containsOnly(0);
    }
    checkNothingLeaks();
  }

  private static ByteBuffer filled(int length, int value) {
    ByteBuffer buffer = ByteBuffer.allocateDirect(length);
    while (buffer.hasRemaining()) {
      buffer.put((byte) value);
    }
    return buffer.flip();
  }

  private static byte[] read(BlockDevice device, long offset, int length) throws BlockException {
    ByteBuffer target = ByteBuffer.allocateDirect(length);
    device.read(offset, target, Blocking.ALLOWED);
    byte[] bytes = new byte[length];
    target.get(0, bytes);
    return bytes;
  }

  // Against a model

  @Test
  void agreesWithAModel() throws Exception {
    check(this::steps);
  }

  @Test
  void agreesWithAModelWhenWhatIsBelowHesitates() throws Exception {
    if (hasBelow()) {
      check(below -> new HesitantDevice(below, SEED), this::steps);
    }
  }

  private void steps(ModelledDevice model) throws BlockException {
    for (int i = 0; i < modelSteps(); i++) {
      step(model);
      if (i % 100 == 99) {
        model.verify();
      }
    }
    model.verify();
  }

  /** One random operation. If it must not block and would, it left no trace, and can be done so. */
  private void step(ModelledDevice model) throws BlockException {
    RandomGenerator random = model.random();
    Blocking blocking = random.nextBoolean() ? Blocking.FORBIDDEN : Blocking.ALLOWED;
    Durability durability = durability(model);
    boolean writable = model.info().can(Capability.WRITE);
    int choice = random.nextInt(20);
    Range any = range(model, Integer.MAX_VALUE);
    if (writable && choice < 7) {
      Range range = range(model, model.info().blockSizes().maximum());
      byte[] data = data(random, range.length);
      tryThenDo(model, range, blocking, b -> model.write(range.offset, data, durability, b));
    } else if (writable && choice < 9) {
      ZeroMode mode = pick(random, List.of(ZeroMode.values()));
      tryThenDo(model, any, blocking, b -> model.zero(any.offset, any.length, mode, durability, b));
    } else if (writable && choice < 11) {
      tryThenDo(model, any, blocking, b -> model.trim(any.offset, any.length, durability, b));
    } else if (choice < 12) {
      tryThenDo(model, any, blocking, model::flush);
    } else if (choice < 14) {
      tryThenDo(model, any, blocking, b -> model.extents(any.offset, any.length, b));
    } else {
      Range range = range(model, model.info().blockSizes().maximum());
      tryThenDo(model, range, blocking, b -> model.read(range.offset, range.length, b));
    }
  }

  @FunctionalInterface
  private interface Attempt {
    boolean make(Blocking blocking) throws BlockException;
  }

  private static void tryThenDo(
      ModelledDevice model, Range range, Blocking blocking, Attempt attempt) throws BlockException {
    if (!attempt.make(blocking)) {
      model.verify(range.offset, range.length);
      assertThat(attempt.make(Blocking.ALLOWED)).as("done, when it may block").isTrue();
    }
  }

  private static byte[] data(RandomGenerator random, int length) {
    byte[] data = new byte[length];
    // Zeros too: a device may store them in another way.
    if (random.nextInt(8) != 0) {
      random.nextBytes(data);
    }
    return data;
  }

  private static Durability durability(ModelledDevice model) {
    return model.random().nextInt(8) == 0 ? Durability.DURABLE : Durability.BUFFERED;
  }

  private record Range(int offset, int length) {}

  /** A random range: mostly a few blocks, often at a boundary, sometimes long. */
  private Range range(ModelledDevice model, int maximumBytes) {
    RandomGenerator random = model.random();
    int minimum = model.info().blockSizes().minimum();
    int size = model.sizeBytes();
    int blocks = Math.ceilDiv(size, minimum);
    int choice = random.nextInt(4);
    if (choice == 0) {
      int first = random.nextInt(size);
      return clip(model, first, first + random.nextInt(size - first) + 1, maximumBytes);
    }
    if (choice == 1) {
      int distance = pick(random, List.copyOf(boundaries(model.info())));
      int place = distance * random.nextInt(Math.ceilDiv(size, distance));
      int from = place - minimum * random.nextInt(3);
      int to = place + (random.nextBoolean() ? distance : minimum * random.nextInt(1, 4));
      return clip(model, from, to, maximumBytes);
    }
    int from = minimum * random.nextInt(blocks);
    return clip(model, from, from + minimum * random.nextInt(1, 5), maximumBytes);
  }

  private static <T> T pick(RandomGenerator random, List<T> choices) {
    return choices.get(random.nextInt(choices.size()));
  }

  /** The nearest range that may be asked for; at least one block. */
  private static Range clip(ModelledDevice model, int from, int to, int maximumBytes) {
    int minimum = model.info().blockSizes().minimum();
    int longest = Math.min(maximumBytes, model.info().blockSizes().maximum());
    int start = Math.clamp(from, 0, model.sizeBytes() - 1) / minimum * minimum;
    int end = Math.ceilDiv(Math.max(to, start + 1), minimum) * minimum;
    end = Math.min(end, start + longest / minimum * minimum);
    return new Range(start, Math.min(end, model.sizeBytes()) - start);
  }

  // With faults

  private static final int FAULT_STEPS = 12;

  @ParameterizedTest
  @EnumSource
  void passesOnOneFailureForEveryFault(Fault fault) throws Exception {
    if (!hasBelow()) {
      return;
    }
    for (int index = 0; index < bottoms(); index++) {
      boolean failed = true;
      for (int count = 1; failed; count++) {
        failed = failsOnce(index, count, fault);
      }
    }
  }

  /** The number of devices at the bottom of the stack. */
  private int bottoms() throws Exception {
    List<FaultyDevice> bottoms = new ArrayList<>();
    create(sizeBytes(), below -> remember(bottoms, below)).close();
    return bottoms.size();
  }

  private static FaultyDevice remember(List<FaultyDevice> bottoms, BlockDevice below) {
    FaultyDevice faulty = new FaultyDevice(below);
    bottoms.add(faulty);
    return faulty;
  }

  private boolean failsOnce(int index, int count, Fault fault) throws Exception {
    List<FaultyDevice> bottoms = new ArrayList<>();
    Reason reason = count % 2 == 0 ? Reason.NO_SPACE : Reason.IO_ERROR;
    int[] surfaced = {0};
    check(
        below -> remember(bottoms, below),
        model -> {
          FaultyDevice faulty = bottoms.get(index);
          faulty.failAt(count, fault, reason);
          for (int i = 0; i < FAULT_STEPS; i++) {
            try {
              step(model);
            } catch (BlockException failure) {
              surfaced[0]++;
              assertThat(failure.reason()).as("reason of %s", failure).isEqualTo(reason);
              assertThat(faulty.failures()).as("failures below").isEqualTo(1);
              model.verify();
            }
          }
          faulty.failAt(Long.MAX_VALUE, fault, reason);
          model.verify();
          assertThat(surfaced[0])
              .as("failures that surfaced, of fault %s in operation %d", fault, count)
              .isEqualTo(faulty.failures());
        });
    assertThat(bottoms).extracting(FaultyDevice::closes).as("closes below").containsOnly(1);
    return surfaced[0] > 0;
  }

  @Test
  void closesWhatIsBelowWhenThatFails() throws Exception {
    if (!hasBelow()) {
      return;
    }
    for (int index = 0; index < bottoms(); index++) {
      List<FaultyDevice> bottoms = new ArrayList<>();
      BlockDevice device = open(below -> remember(bottoms, below));
      bottoms.get(index).failClose();

      BlockException failure = catchThrowableOfType(BlockException.class, device::close);

      assertThat(failure).as("failure of close").isNotNull();
      assertThat(bottoms).extracting(FaultyDevice::closes).containsOnly(1);
      checkNothingLeaks();
    }
  }

  @Test
  void closesWhatIsBelowWhenAnOperationFailsThen() throws Exception {
    if (!hasBelow()) {
      return;
    }
    for (int index = 0; index < bottoms(); index++) {
      boolean failed = true;
      for (int count = 1; failed; count++) {
        failed = failsOnceWhenClosed(index, count);
      }
    }
  }

  private boolean failsOnceWhenClosed(int index, int count) throws Exception {
    List<FaultyDevice> bottoms = new ArrayList<>();
    BlockDevice device = open(below -> remember(bottoms, below));
    ModelledDevice model = model(device);
    for (int i = 0; i < FAULT_STEPS; i++) {
      step(model);
    }
    FaultyDevice faulty = bottoms.get(index);
    faulty.failAt(count, Fault.BEFORE, Reason.IO_ERROR);

    BlockException failure = catchThrowableOfType(BlockException.class, device::close);

    assertThat(failure != null).as("failed").isEqualTo(faulty.failures() > 0);
    assertThat(bottoms).extracting(FaultyDevice::closes).containsOnly(1);
    checkNothingLeaks();
    return failure != null;
  }

  // From many threads

  private static final int THREADS = 4;

  @Test
  void keepsWritersApartWhoseRangesAreDisjoint() throws Exception {
    try (BlockDevice device = open(TearingDevice::new)) {
      if (!device.info().can(Capability.WRITE)) {
        return;
      }
      byte[] contents = initialContents();
      List<List<Range>> owned = deal(model(device));

      together(THREADS, thread -> writeOwn(device, owned.get(thread), contents, random(thread)));

      new ModelledDevice(device, contents, false, random()).verify();
    }
    checkNothingLeaks();
  }

  /** Cuts the device into small ranges and deals them out to the threads. */
  private List<List<Range>> deal(ModelledDevice model) {
    List<List<Range>> owned = new ArrayList<>();
    for (int i = 0; i < THREADS; i++) {
      owned.add(new ArrayList<>());
    }
    int thread = 0;
    int at = 0;
    while (at < model.sizeBytes()) {
      int minimum = model.info().blockSizes().minimum();
      int longest = Math.max(minimum, Math.min(sizeBytes() / 64, 3 * 4096));
      int length =
          model.random().nextInt(8) == 0
              ? model.random().nextInt(longest) + 1
              : minimum * model.random().nextInt(1, 6);
      Range range = clip(model, at, at + length, Integer.MAX_VALUE);
      owned.get(thread).add(range);
      at += range.length;
      thread = (thread + 1) % THREADS;
    }
    return owned;
  }

  private static void writeOwn(
      BlockDevice device, List<Range> owned, byte[] contents, RandomGenerator random)
      throws BlockException {
    for (int i = 0; i < 500; i++) {
      Range range = pick(random, owned);
      byte[] data = new byte[range.length];
      switch (random.nextInt(6)) {
        case 0 ->
            doIt(
                blocking ->
                    device.zero(
                        range.offset,
                        range.length,
                        ZeroMode.MAY_DEALLOCATE,
                        Durability.BUFFERED,
                        blocking));
        case 1 -> {
          doIt(b -> device.trim(range.offset, range.length, Durability.BUFFERED, b));
          if (!device.info().can(Capability.TRIM)) {
            data = Arrays.copyOfRange(contents, range.offset, range.offset + range.length);
          }
        }
        default -> {
          random.nextBytes(data);
          ByteBuffer source = ByteBuffer.allocateDirect(range.length).put(data).flip();
          doIt(b -> device.write(range.offset, source, Durability.BUFFERED, b));
        }
      }
      System.arraycopy(data, 0, contents, range.offset, range.length);
      assertThat(read(device, range.offset, range.length))
          .as("%s, read back by its only writer", range)
          .isEqualTo(data);
    }
  }

  @FunctionalInterface
  private interface Change {
    Completion make(Blocking blocking) throws BlockException;
  }

  private static void doIt(Change change) throws BlockException {
    if (change.make(Blocking.FORBIDDEN) == Completion.WOULD_BLOCK) {
      assertThat(change.make(Blocking.ALLOWED)).isEqualTo(Completion.DONE);
    }
  }

  /** Bytes that a thread writes; no others, but for zeros, may ever be seen. */
  private static final byte[][] TAGS = {
    {0x11, 0x12, 0x13, 0x14},
    {0x21, 0x22, 0x23, 0x24},
    {0x31, 0x32, 0x33, 0x34},
    {0x41, 0x42, 0x43, 0x44},
  };

  @Test
  void showsNothingForeignWhereOperationsOverlap() throws Exception {
    try (BlockDevice device = open(TearingDevice::new)) {
      if (!device.info().can(Capability.WRITE)) {
        return;
      }
      ModelledDevice model = model(device);
      int hotBytes = hotBytes(model);
      ZeroMode mode = ZeroMode.MAY_DEALLOCATE;
      device.zero(0, hotBytes, mode, Durability.BUFFERED, Blocking.ALLOWED);
      int minimum = device.info().blockSizes().minimum();
      byte[][] last = new byte[THREADS][Math.ceilDiv(hotBytes, minimum)];

      together(
          THREADS + 1,
          thread -> {
            if (thread < THREADS) {
              overwrite(device, hotBytes, TAGS[thread], last[thread], random(thread));
            } else {
              for (int i = 0; i < 400; i++) {
                checkBlocks(read(device, 0, hotBytes), tearsReads() ? 1 : minimum);
              }
            }
          });

      byte[] found = read(device, 0, hotBytes);
      checkBlocks(found, minimum);
      for (int block = 0; block * minimum < hotBytes; block++) {
        byte value = found[block * minimum];
        int at = block;
        assertThat(Arrays.stream(last).anyMatch(of -> of[at] == value))
            .as("block %d: %d is the last that one of the writers wrote", block, value)
            .isTrue();
      }
    }
    checkNothingLeaks();
  }

  /** A range that is small enough to be fought over. */
  private int hotBytes(ModelledDevice model) {
    int wanted = Math.max(2 * model.info().allocationUnitBytes(), 3 * 4096 + 512);
    return clip(model, 0, Math.min(wanted, model.sizeBytes()), 1 << 16).length;
  }

  private static void overwrite(
      BlockDevice device, int hotBytes, byte[] tags, byte[] last, RandomGenerator random)
      throws BlockException {
    int minimum = device.info().blockSizes().minimum();
    for (int i = 0; i < 400; i++) {
      int first = random.nextInt(last.length);
      int longest = Math.min(last.length - first, random.nextInt(4) == 0 ? last.length : 12);
      int blocks = random.nextInt(longest) + 1;
      int offset = first * minimum;
      int length = Math.min(blocks * minimum, hotBytes - offset);
      byte tag = 0;
      int choice = random.nextInt(8);
      if (choice == 0) {
        ZeroMode mode = ZeroMode.MAY_DEALLOCATE;
        doIt(b -> device.zero(offset, length, mode, Durability.BUFFERED, b));
      } else if (choice == 1 && device.info().can(Capability.TRIM)) {
        doIt(b -> device.trim(offset, length, Durability.BUFFERED, b));
      } else {
        tag = tags[random.nextInt(tags.length)];
        ByteBuffer source = filled(length, tag);
        doIt(b -> device.write(offset, source, Durability.BUFFERED, b));
      }
      Arrays.fill(last, first, first + blocks, tag);
    }
  }

  private static void checkBlocks(byte[] bytes, int blockBytes) {
    for (int at = 0; at < bytes.length; at++) {
      byte value = bytes[at];
      boolean known = value == 0;
      for (byte[] tags : TAGS) {
        for (byte tag : tags) {
          known |= value == tag;
        }
      }
      if (!known) {
        fail("byte %d: %d, which nobody wrote", at, value);
      }
      byte first = bytes[at / blockBytes * blockBytes];
      if (value != first) {
        fail("byte %d: %d, in a block that begins with %d", at, value, first);
      }
    }
  }

  @FunctionalInterface
  private interface Work {
    void run(int thread) throws Exception;
  }

  private static void together(int count, Work work) throws InterruptedException {
    List<Throwable> failures = new ArrayList<>();
    List<Thread> threads = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      int number = i;
      threads.add(
          Thread.ofPlatform()
              .daemon()
              .start(
                  () -> {
                    try {
                      work.run(number);
                    } catch (Throwable failure) {
                      synchronized (failures) {
                        failures.add(failure);
                      }
                    }
                  }));
    }
    for (Thread thread : threads) {
      thread.join();
    }
    synchronized (failures) {
      if (!failures.isEmpty()) {
        AssertionError error =
            new AssertionError("-Dtest.seed=" + SEED + ": " + failures.get(0), failures.get(0));
        failures.stream().skip(1).forEach(error::addSuppressed);
        throw error;
      }
    }
  }

  // Everything that is random, and every device, is made here.

  private static RandomGenerator random() {
    return new SplittableRandom(SEED);
  }

  private static RandomGenerator random(int thread) {
    return new SplittableRandom(SEED + 1 + thread);
  }

  private BlockDevice open() throws Exception {
    return open(UnaryOperator.identity());
  }

  private BlockDevice open(UnaryOperator<BlockDevice> below) throws Exception {
    return new CheckedDevice(create(sizeBytes(), below));
  }

  private ModelledDevice model(BlockDevice device) {
    return new ModelledDevice(device, initialContents(), startsUnwritten(), random());
  }

  @FunctionalInterface
  private interface Scenario {
    void play(ModelledDevice model) throws BlockException;
  }

  private void checkChanges(Scenario scenario) throws Exception {
    check(
        model -> {
          if (model.info().can(Capability.WRITE)) {
            scenario.play(model);
          }
        });
  }

  private void check(Scenario scenario) throws Exception {
    check(UnaryOperator.identity(), scenario);
  }

  /** Plays a scenario on a new device; what goes wrong names the seed and the step. */
  private void check(UnaryOperator<BlockDevice> below, Scenario scenario) throws Exception {
    try (BlockDevice device = open(below)) {
      ModelledDevice model = model(device);
      try {
        scenario.play(model);
      } catch (AssertionError | RuntimeException | BlockException failure) {
        throw new AssertionError(
            "-Dtest.seed=" + SEED + ", " + model.progress() + ": " + failure.getMessage(), failure);
      }
    }
    checkNothingLeaks();
  }
}
