package io.filterd.crypto;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import io.filterd.block.BlockSizes;
import io.filterd.block.Blocking;
import io.filterd.block.Capability;
import io.filterd.block.Completion;
import io.filterd.block.DeviceInfo;
import io.filterd.block.Durability;
import io.filterd.block.ExtentKind;
import io.filterd.block.Extents;
import io.filterd.block.FaultyDevice;
import io.filterd.block.IoFilter;
import io.filterd.block.MemoryDevice;
import io.filterd.block.RecordingDevice;
import io.filterd.block.ZeroMode;
import io.filterd.filter.FilterClass;
import io.filterd.filter.FilterContext;
import io.filterd.filter.FilterFactory;
import io.filterd.filter.FilterSettings;
import java.nio.ByteBuffer;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.ServiceLoader;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class EncryptionFilterTest {
  private static final int UNIT = 4096;
  private static final int GRAIN = 1 << 16;
  private static final long SIZE = 64L * GRAIN;
  private static final BlockSizes SECTORS = new BlockSizes(512, 4096, 1 << 22);

  private final SecretBytes dek = SecretBytes.random(XtsEngine.DEK_BYTES);
  private final SectorCipher cipher = XtsEngines.byName("auto").cipher(dek, UNIT);
  private final MemoryDevice memory = new MemoryDevice(SIZE, SECTORS, GRAIN);
  private final RecordingDevice below = new RecordingDevice(memory);

  @AfterEach
  void close() {
    cipher.close();
    dek.close();
  }

  private EncryptionFilter filter() throws BlockException {
    return new EncryptionFilter(below, cipher);
  }

  @Test
  void storesWhatTheCipherMakesOfEachUnitAndItsNumber() throws BlockException {
    ByteBuffer plaintext = random(3 * UNIT, 1);
    ByteBuffer expected = ByteBuffer.allocateDirect(3 * UNIT);
    cipher.encipher(5, plaintext, expected);

    write(filter(), 5 * UNIT, plaintext);

    assertThat(read(memory, 5 * UNIT, 3 * UNIT)).isEqualTo(expected);
  }

  @Test
  void storesNoPlaintextAndHidesEqualUnits() throws BlockException {
    ByteBuffer unit = random(UNIT, 2);
    ByteBuffer plaintext = ByteBuffer.allocateDirect(GRAIN);
    while (plaintext.hasRemaining()) {
      plaintext.put(unit.duplicate());
    }
    plaintext.flip();
    Set<ByteBuffer> blocks = blocks(plaintext);

    write(filter(), 0, plaintext);

    ByteBuffer stored = read(memory, 0, GRAIN);
    Set<ByteBuffer> storedBlocks = blocks(stored);
    assertThat(storedBlocks).hasSize(GRAIN / 16);
    assertThat(storedBlocks).doesNotContainAnyElementsOf(blocks);
    assertThat(read(filter(), 0, GRAIN)).isEqualTo(plaintext);
  }

  @Test
  void raisesTheBlockToTheUnitAndPromisesNoMoreThanItKeeps() throws BlockException {
    DeviceInfo info = filter().info();

    assertThat(info.sizeBytes()).isEqualTo(SIZE);
    assertThat(info.blockSizes()).isEqualTo(new BlockSizes(UNIT, UNIT, 1 << 22));
    assertThat(info.allocationUnitBytes()).isEqualTo(GRAIN);
    assertThat(info.capabilities())
        .containsExactlyInAnyOrder(
            Capability.WRITE,
            Capability.FLUSH,
            Capability.DURABLE_WRITE,
            Capability.TRIM,
            Capability.ZERO,
            Capability.TRACKS_ZEROS,
            Capability.MARKS_ZEROS,
            Capability.MULTIPLE_CONNECTIONS);
  }

  @Test
  void keepsHolesThroughZeroAndTrim() throws BlockException {
    EncryptionFilter filter = filter();
    write(filter, GRAIN, random(3 * GRAIN, 3));
    below.takeOperations();

    zero(filter, GRAIN, GRAIN, ZeroMode.MAY_DEALLOCATE);
    filter.trim(2 * GRAIN, GRAIN, Durability.DURABLE, Blocking.FORBIDDEN);

    assertThat(below.takeOperations())
        .containsExactly(
            "zero 65536+65536 MAY_DEALLOCATE", "trim 131072+65536 durable nonblocking");
    Extents extents = filter.extents(0, 5 * GRAIN, Blocking.ALLOWED);
    assertThat(extents).hasToString("[196608, 65536, 65536][ZERO, DATA, ZERO]");
    assertThat(read(filter, 0, 3 * GRAIN)).isEqualTo(ByteBuffer.allocate(3 * GRAIN));
  }

  @Test
  void writesEncipheredZerosWhereAUnitThatHoldsDataIsClearedInPart() throws BlockException {
    EncryptionFilter filter = filter();
    ByteBuffer plaintext = random(2 * GRAIN, 4);
    write(filter, 0, plaintext);
    below.takeOperations();

    zero(filter, GRAIN - UNIT, 2 * UNIT, ZeroMode.MAY_DEALLOCATE);

    assertThat(below.takeOperations())
        .containsExactly(
            "extents 0+65536", "extents 65536+65536", "write 61440+4096", "write 65536+4096");
    assertThat(filter.extents(0, 2 * GRAIN, Blocking.ALLOWED)).isSameAs(Extents.ALL_DATA);
    assertThat(isZero(read(memory, GRAIN - UNIT, 16))).isFalse();
    ByteBuffer found = read(filter, 0, 2 * GRAIN);
    for (int i = 0; i < 2 * UNIT; i++) {
      plaintext.put(GRAIN - UNIT + i, (byte) 0);
    }
    assertThat(found).isEqualTo(plaintext);
  }

  @Test
  void clearsHeadBodyAndTailEachInItsWay() throws BlockException {
    EncryptionFilter filter = filter();
    write(filter, 0, random(4 * GRAIN, 5));
    below.takeOperations();

    filter.trim(GRAIN / 2, 3 * GRAIN, Durability.BUFFERED, Blocking.ALLOWED);

    assertThat(below.takeOperations())
        .containsExactly(
            "extents 0+65536",
            "extents 196608+65536",
            "write 32768+32768",
            "trim 65536+131072",
            "write 196608+32768");
  }

  @Test
  void leavesAloneWhatReadsAsZerosButMakesItDurable() throws BlockException {
    EncryptionFilter filter = filter();

    zero(filter, UNIT, UNIT, ZeroMode.FAST_MAY_DEALLOCATE);
    assertThat(below.takeOperations()).containsExactly("extents 0+65536");

    filter.trim(UNIT, UNIT, Durability.DURABLE, Blocking.FORBIDDEN);
    assertThat(below.takeOperations())
        .containsExactly("extents 0+65536 nonblocking", "flush nonblocking");
    assertThat(memory.extents(0, SIZE, Blocking.ALLOWED)).isSameAs(Extents.ALL_ZERO);
  }

  @Test
  void allocatesWholeUnitsOfEncipheredZeros() throws BlockException {
    EncryptionFilter filter = filter();
    ByteBuffer plaintext = random(GRAIN, 6);
    write(filter, 2 * GRAIN, plaintext);
    below.takeOperations();

    zero(filter, UNIT, 2 * GRAIN, ZeroMode.ALLOCATE);

    assertThat(below.takeOperations())
        .containsExactly("extents 0+65536", "extents 131072+65536", "write 0+135168");
    assertThat(isZero(read(memory, 0, 16))).isFalse();
    assertThat(isZero(read(filter, 0, 2 * GRAIN + UNIT))).isTrue();
    assertThat(read(filter, 2 * GRAIN + UNIT, GRAIN - UNIT))
        .isEqualTo(plaintext.slice(UNIT, GRAIN - UNIT));
  }

  @Test
  void allocatesInsideOfOneUnitWithoutTouchingItsData() throws BlockException {
    EncryptionFilter filter = filter();
    write(filter, 0, random(GRAIN, 7));
    below.takeOperations();

    zero(filter, UNIT, UNIT, ZeroMode.ALLOCATE);
    zero(filter, GRAIN + UNIT, UNIT, ZeroMode.ALLOCATE);

    assertThat(below.takeOperations())
        .containsExactly(
            "extents 0+65536", "write 4096+4096", "extents 65536+65536", "write 65536+65536");
  }

  @Test
  void refusesToBeFastWhereItHasToWrite() throws BlockException {
    EncryptionFilter filter = filter();
    write(filter, 0, random(GRAIN, 8));
    below.takeOperations();

    for (ZeroMode mode : List.of(ZeroMode.FAST_ALLOCATE, ZeroMode.FAST_MAY_DEALLOCATE)) {
      BlockException refusal =
          catchThrowableOfType(BlockException.class, () -> zero(filter, UNIT, 2 * GRAIN, mode));
      assertThat(refusal.reason()).isEqualTo(Reason.NOT_SUPPORTED);
    }
    assertThat(below.takeOperations()).allMatch(operation -> operation.startsWith("extents"));
    zero(filter, 0, GRAIN, ZeroMode.FAST_MAY_DEALLOCATE);
    assertThat(below.takeOperations()).containsExactly("zero 0+65536 FAST_MAY_DEALLOCATE");
  }

  @Test
  void refusesToClearAPartOfAnAbsentUnit() throws BlockException {
    EncryptionFilter filter = new EncryptionFilter(new AbsentDevice(memory), cipher);

    BlockException refusal =
        catchThrowableOfType(
            BlockException.class, () -> zero(filter, UNIT, UNIT, ZeroMode.MAY_DEALLOCATE));

    assertThat(refusal.reason()).isEqualTo(Reason.NOT_SUPPORTED);
    assertThat(refusal)
        .hasMessage(
            "clearing a part of the allocation unit at 0, which is absent here (expected: a whole"
                + " unit, or one that was written)");
    assertThat(filter.trim(0, GRAIN, Durability.BUFFERED, Blocking.ALLOWED))
        .isEqualTo(Completion.DONE);
  }

  @Test
  void doesNotTouchWhatIsBelowWhenItWouldTakeSeveralStepsAndMustNotBlock() throws BlockException {
    EncryptionFilter filter = filter();
    write(filter, 0, random(2 * GRAIN, 9));
    below.takeOperations();
    ByteBuffer twoChunks = ByteBuffer.allocateDirect(1 << 19);

    assertThat(filter.write(0, twoChunks, Durability.BUFFERED, Blocking.FORBIDDEN))
        .isEqualTo(Completion.WOULD_BLOCK);
    assertThat(twoChunks.position()).isZero();
    assertThat(below.takeOperations()).isEmpty();

    ZeroMode mode = ZeroMode.MAY_DEALLOCATE;
    assertThat(filter.zero(UNIT, 2 * GRAIN, mode, Durability.BUFFERED, Blocking.FORBIDDEN))
        .isEqualTo(Completion.WOULD_BLOCK);
    assertThat(below.takeOperations()).allMatch(operation -> operation.startsWith("extents"));
  }

  @Test
  void passesOnWritesInChunksOfWholeAllocationUnits() throws BlockException {
    EncryptionFilter filter = filter();
    filter.write(GRAIN, ByteBuffer.allocateDirect(5 * GRAIN), Durability.DURABLE, Blocking.ALLOWED);
    assertThat(below.takeOperations())
        .containsExactly("write 65536+196608 durable", "write 262144+131072 durable");

    RecordingDevice large = new RecordingDevice(new MemoryDevice(SIZE, SECTORS, 1 << 20));
    write(new EncryptionFilter(large, cipher), 1 << 20, random(1 << 20, 10));
    assertThat(large.takeOperations()).containsExactly("write 1048576+1048576");
  }

  @Test
  void wipesWhatItCouldNotDecipher() throws BlockException {
    FaultyDevice faulty = new FaultyDevice(memory);
    EncryptionFilter filter = new EncryptionFilter(faulty, cipher);
    write(filter, 0, random(GRAIN, 11));

    ByteBuffer target = ByteBuffer.allocateDirect(GRAIN);
    faulty.failAt(1, FaultyDevice.Fault.AFTER, Reason.IO_ERROR);
    assertThatThrownBy(() -> filter.read(0, target, Blocking.ALLOWED))
        .isInstanceOf(BlockException.class);
    assertThat(target.position()).isZero();
    assertThat(isZero(target)).isTrue();

    cipher.close();
    assertThatIllegalStateException()
        .isThrownBy(() -> filter.read(0, target, Blocking.ALLOWED))
        .withMessage("cipher: closed (expected: open)");
    assertThat(target.position()).isZero();
    assertThat(isZero(target)).isTrue();
  }

  @Test
  void readsSectorsThatWereNeverEncipheredAsZeros() throws BlockException {
    EncryptionFilter filter = filter();
    ByteBuffer plaintext = random(3 * UNIT, 12);
    write(filter, 0, plaintext);

    // As a crash or a failure may leave it: half of the middle unit, and one sector of the last.
    memory.write(UNIT, ByteBuffer.allocateDirect(UNIT / 2), Durability.BUFFERED, Blocking.ALLOWED);
    memory.write(
        3 * UNIT - 512, ByteBuffer.allocateDirect(512), Durability.BUFFERED, Blocking.ALLOWED);

    ByteBuffer found = read(filter, 0, 3 * UNIT);
    for (int i = 0; i < UNIT / 2; i++) {
      plaintext.put(UNIT + i, (byte) 0);
    }
    for (int i = 3 * UNIT - 512; i < 3 * UNIT; i++) {
      plaintext.put(i, (byte) 0);
    }
    assertThat(found).isEqualTo(plaintext);
  }

  @Test
  void readsTornUnitsAsOldAndNewBlocks() throws BlockException {
    EncryptionFilter filter = filter();
    ByteBuffer oldContent = random(UNIT, 13);
    ByteBuffer newContent = random(UNIT, 14);
    write(filter, 0, oldContent);
    ByteBuffer oldStored = read(memory, 0, UNIT);
    write(filter, 0, newContent);

    memory.write(512, oldStored.slice(512, 1024), Durability.BUFFERED, Blocking.ALLOWED);

    ByteBuffer expected = newContent.duplicate().put(512, oldContent, 512, 1024);
    assertThat(read(filter, 0, UNIT)).isEqualTo(expected);
  }

  @Test
  void refusesDevicesThatCanNotBeEnciphered() {
    BlockDevice odd = new MemoryDevice(UNIT + 8, new BlockSizes(1, 512, 4096), 4096);
    assertThatThrownBy(() -> new EncryptionFilter(odd, cipher))
        .isInstanceOf(BlockException.class)
        .hasMessage("encryption: size 4104 bytes (expected: a multiple of 16)");
    BlockDevice narrow = new MemoryDevice(UNIT, new BlockSizes(512, 512, 2048), 4096);
    assertThatThrownBy(() -> new EncryptionFilter(narrow, cipher))
        .isInstanceOf(BlockException.class)
        .hasMessage("encryption: maximum block 2048 bytes (expected: >= 4096)");
  }

  @Test
  void isFoundAndMadeAsTheFilterNamedEncryption() throws BlockException {
    FilterFactory factory =
        ServiceLoader.load(FilterFactory.class).stream()
            .map(ServiceLoader.Provider::get)
            .filter(found -> found.name().equals("encryption"))
            .findFirst()
            .orElseThrow();
    assertThat(factory.filterClass()).isEqualTo(FilterClass.ENCRYPTION);
    assertThat(factory.parameters()).isEmpty();

    BlockDevice made = factory.create(new Context(cipher), below);

    assertThat(made).isInstanceOf(EncryptionFilter.class);
    write(made, 0, random(UNIT, 15));
    assertThat(read(made, 0, UNIT)).isEqualTo(random(UNIT, 15));
  }

  private record Context(SectorCipher cipher) implements FilterContext {
    @Override
    public String disk() {
      return "vm1/disk0";
    }

    @Override
    public FilterSettings settings() {
      return new FilterSettings(Map.of());
    }

    @Override
    public <T> T service(Class<T> type) {
      return type.cast(cipher);
    }
  }

  /** A link of a chain to which nothing was written yet. */
  private static final class AbsentDevice extends IoFilter {
    private AbsentDevice(BlockDevice below) {
      super(below);
    }

    @Override
    public DeviceInfo info() {
      return below.info();
    }

    @Override
    public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
      below.read(offset, target, blocking);
      return Extents.ALL_ABSENT;
    }

    @Override
    public Completion write(
        long offset, ByteBuffer source, Durability durability, Blocking blocking) {
      throw new AssertionError("written to");
    }

    @Override
    public Completion zero(
        long offset, long length, ZeroMode mode, Durability durability, Blocking blocking) {
      throw new AssertionError("zeroed");
    }

    @Override
    public Completion trim(long offset, long length, Durability durability, Blocking blocking) {
      return Completion.DONE;
    }

    @Override
    public Completion flush(Blocking blocking) {
      return Completion.DONE;
    }

    @Override
    public Extents extents(long offset, long length, Blocking blocking) {
      return Extents.all(ExtentKind.ABSENT);
    }
  }

  private static void write(BlockDevice device, long offset, ByteBuffer source)
      throws BlockException {
    device.write(offset, source.duplicate(), Durability.BUFFERED, Blocking.ALLOWED);
  }

  private static void zero(BlockDevice device, long offset, long length, ZeroMode mode)
      throws BlockException {
    device.zero(offset, length, mode, Durability.BUFFERED, Blocking.ALLOWED);
  }

  private static ByteBuffer read(BlockDevice device, long offset, int length)
      throws BlockException {
    ByteBuffer target = ByteBuffer.allocateDirect(length);
    device.read(offset, target, Blocking.ALLOWED);
    return target.flip();
  }

  private static Set<ByteBuffer> blocks(ByteBuffer bytes) {
    Set<ByteBuffer> blocks = new HashSet<>();
    for (int at = 0; at < bytes.limit(); at += 16) {
      blocks.add(bytes.slice(at, 16));
    }
    return blocks;
  }

  private static boolean isZero(ByteBuffer bytes) {
    return bytes.equals(ByteBuffer.allocate(bytes.remaining()));
  }

  private static ByteBuffer random(int length, long seed) {
    byte[] bytes = new byte[length];
    new Random(seed).nextBytes(bytes);
    return ByteBuffer.allocateDirect(length).put(bytes).flip();
  }
}
