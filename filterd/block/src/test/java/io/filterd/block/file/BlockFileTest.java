package io.filterd.block.file;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import io.filterd.block.Blocking;
import io.filterd.block.Completion;
import io.filterd.block.Durability;
import io.filterd.block.file.BlockFile.Access;
import io.filterd.block.file.BlockFile.Calls;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

class BlockFileTest {
  @TempDir Path folder;

  @ParameterizedTest
  @EnumSource
  void readsBackWhatWasWritten(Calls calls) throws Exception {
    try (BlockFile file = BlockFile.create(folder.resolve("a"), calls)) {
      ByteBuffer source = direct("..hello.").position(2).limit(7);

      assertThat(file.write(100, source, Durability.BUFFERED, Blocking.ALLOWED))
          .isEqualTo(Completion.DONE);

      assertThat(source.position()).isEqualTo(7);
      assertThat(file.sizeBytes()).isEqualTo(105);
      assertThat(read(file, 98, 7)).isEqualTo("\0\0hello");
    }
  }

  @Test
  void tellsWhatAFileTakesWithoutItsHoles() throws Exception {
    Path sparse = folder.resolve("a");
    try (BlockFile file = BlockFile.create(sparse)) {
      file.truncate(1 << 20);
      file.write(0, ByteBuffer.allocateDirect(1 << 16), Durability.DURABLE, Blocking.ALLOWED);
    }

    assertThat(BlockFile.storedBytes(sparse)).isBetween(1L << 16, 1L << 18);
    assertThatThrownBy(() -> BlockFile.storedBytes(folder.resolve("none")))
        .isInstanceOf(NoSuchFileException.class);
  }

  @ParameterizedTest
  @EnumSource
  void tellsWhetherItsNameStillStandsForIt(Calls calls) throws Exception {
    Path path = Files.writeString(folder.resolve("a"), "old");
    Path other = Files.writeString(folder.resolve("b"), "new");
    try (BlockFile file = BlockFile.open(path, Access.READ_ONLY, calls)) {
      assertThat(file.isNamed()).isTrue();

      Files.move(other, path, StandardCopyOption.REPLACE_EXISTING);
      assertThat(file.isNamed()).isFalse();

      Files.delete(path);
      assertThat(file.isNamed()).isFalse();
    }
  }

  @ParameterizedTest
  @EnumSource
  void writesDurably(Calls calls) throws Exception {
    try (BlockFile file = BlockFile.create(folder.resolve("a"), calls)) {
      file.write(0, direct("hello"), Durability.DURABLE, Blocking.ALLOWED);

      assertThat(file.write(0, direct("x"), Durability.DURABLE, Blocking.FORBIDDEN))
          .isEqualTo(Completion.WOULD_BLOCK);
      assertThat(read(file, 0, 5)).isEqualTo("hello");
    }
  }

  @ParameterizedTest
  @EnumSource
  void refusesToReadBeyondTheEnd(Calls calls) throws Exception {
    try (BlockFile file = BlockFile.create(folder.resolve("a"), calls)) {
      file.write(0, direct("hello"), Durability.BUFFERED, Blocking.ALLOWED);
      ByteBuffer target = ByteBuffer.allocateDirect(16).position(1);

      assertThatThrownBy(() -> file.read(3, target, Blocking.ALLOWED))
          .isInstanceOf(BlockException.class)
          .hasMessageEndingWith("a: ends at 5 (expected: at least 18 bytes)");

      assertThat(target.position()).isEqualTo(1);
    }
  }

  @ParameterizedTest
  @EnumSource
  void keepsTheTargetsPositionWhenItWouldBlock(Calls calls) throws Exception {
    try (BlockFile file = BlockFile.create(folder.resolve("a"), calls)) {
      file.write(0, direct("hello"), Durability.BUFFERED, Blocking.ALLOWED);
      ByteBuffer target = ByteBuffer.allocateDirect(5);

      Completion completion = file.read(0, target, Blocking.FORBIDDEN);

      assertThat(target.position()).isEqualTo(completion == Completion.DONE ? 5 : 0);
    }
  }

  @Test
  void readsWithoutBlockingWhatIsInMemory() throws Exception {
    try (BlockFile file = BlockFile.create(folder.resolve("a"), Calls.NATIVE)) {
      file.write(0, direct("hello"), Durability.BUFFERED, Blocking.ALLOWED);

      assertThat(file.read(0, ByteBuffer.allocateDirect(5), Blocking.FORBIDDEN))
          .isEqualTo(Completion.DONE);
    }
  }

  @ParameterizedTest
  @EnumSource
  void changesItsSize(Calls calls) throws Exception {
    try (BlockFile file = BlockFile.create(folder.resolve("a"), calls)) {
      file.write(0, direct("hello"), Durability.BUFFERED, Blocking.ALLOWED);

      file.truncate(1L << 33);
      assertThat(file.sizeBytes()).isEqualTo(1L << 33);
      assertThat(read(file, 3, 4)).isEqualTo("lo\0\0");

      file.truncate(4);
      assertThat(file.sizeBytes()).isEqualTo(4);
    }
  }

  @Test
  void findsTheHolesThatItPunches() throws Exception {
    try (BlockFile file = BlockFile.create(folder.resolve("a"), Calls.NATIVE)) {
      ByteBuffer ones = direct("x".repeat(1 << 16));
      file.write(0, ones, Durability.BUFFERED, Blocking.ALLOWED);
      file.truncate(1 << 20);

      assertThat(file.punchHole(8192, 16384)).isTrue();

      assertThat(file.sizeBytes()).isEqualTo(1 << 20);
      assertThat(file.nextHole(0, 1 << 20)).isEqualTo(8192);
      assertThat(file.nextData(8192, 1 << 20)).isEqualTo(8192 + 16384);
      assertThat(file.nextData(8192, 9000)).isEqualTo(9000);
      assertThat(file.nextHole(24576, 1 << 20)).isEqualTo(1 << 16);
      assertThat(file.nextData(1 << 16, 1 << 20)).isEqualTo(1 << 20);
      assertThat(file.nextData(1 << 20, 1 << 21)).isEqualTo(1 << 21);
      assertThat(file.nextHole(1 << 20, 1 << 21)).isEqualTo(1 << 20);
      assertThat(read(file, 8190, 4)).isEqualTo("xx\0\0");
    }
  }

  @Test
  void zeroesARangeThatKeepsItsSpace() throws Exception {
    Path path = folder.resolve("a");
    try (BlockFile file = BlockFile.create(path, Calls.NATIVE)) {
      file.truncate(1 << 20);

      assertThat(file.zeroRange(0, 1 << 20)).isTrue();

      assertThat(read(file, 4096, 2)).isEqualTo("\0\0");
      assertThat((Long) Files.getAttribute(path, "unix:size")).isEqualTo(1 << 20);
    }
  }

  @ParameterizedTest
  @EnumSource
  void takesNoChangesWhenOpenedForReading(Calls calls) throws Exception {
    Path path = Files.writeString(folder.resolve("a"), "hello");
    try (BlockFile file = BlockFile.open(path, Access.READ_ONLY, calls)) {
      for (Change change :
          Stream.<Change>of(
                  () -> file.write(0, direct("x"), Durability.BUFFERED, Blocking.ALLOWED),
                  () -> file.punchHole(0, 4),
                  () -> file.zeroRange(0, 4),
                  () -> file.truncate(0))
              .toList()) {
        BlockException failure = catchThrowableOfType(BlockException.class, change::make);
        assertThat(failure.reason()).isEqualTo(Reason.READ_ONLY);
      }
    }
    assertThat(path).hasContent("hello");
  }

  private interface Change {
    void make() throws BlockException;
  }

  @ParameterizedTest
  @EnumSource
  void isNotDisturbedByInterrupts(Calls calls) throws Exception {
    try (BlockFile file = BlockFile.create(folder.resolve("a"), calls)) {
      Thread.currentThread().interrupt();

      file.write(0, direct("hello"), Durability.DURABLE, Blocking.ALLOWED);

      assertThat(Thread.interrupted()).isTrue();
      assertThat(read(file, 0, 5)).isEqualTo("hello");
    }
  }

  @ParameterizedTest
  @EnumSource
  void makesFilesForTheirOwnerOnly(Calls calls) throws Exception {
    Path path = folder.resolve("ä");
    BlockFile.create(path, calls).close();

    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(path)))
        .isEqualTo("rw-------");
    assertThatThrownBy(() -> BlockFile.create(path, calls))
        .isInstanceOf(FileAlreadyExistsException.class);
  }

  @ParameterizedTest
  @EnumSource
  void opensRegularFilesOnly(Calls calls) throws IOException, InterruptedException {
    Path link = Files.createSymbolicLink(folder.resolve("link"), folder.resolve("a"));
    Path pipe = folder.resolve("pipe");
    assertThat(new ProcessBuilder("mkfifo", pipe.toString()).start().waitFor()).isZero();
    Files.writeString(folder.resolve("a"), "hello");

    for (Access access : Access.values()) {
      assertThatThrownBy(() -> BlockFile.open(folder.resolve("none"), access, calls))
          .isInstanceOf(NoSuchFileException.class);
      for (Path path : Stream.of(link, pipe, folder, Path.of("/dev/zero")).toList()) {
        assertThatThrownBy(() -> BlockFile.open(path, access, calls))
            .isInstanceOf(FileSystemException.class)
            .hasMessageContaining(path.toString());
      }
    }
  }

  @ParameterizedTest
  @MethodSource("pairs")
  void claimsAFileForOneWriter(Calls first, Calls second) throws Exception {
    Path path = Files.writeString(folder.resolve("a"), "hello");
    try (BlockFile writer = BlockFile.open(path, Access.READ_WRITE, first)) {
      writer.lock();

      assertInUse(path, Access.READ_WRITE, second);
      assertInUse(path, Access.READ_ONLY, second);
    }
    closeRefused();
    refused.clear();
    try (BlockFile writer = BlockFile.open(path, Access.READ_WRITE, second)) {
      writer.lock();
    }
  }

  @ParameterizedTest
  @MethodSource("pairs")
  void claimsAFileForReadersTogether(Calls first, Calls second) throws Exception {
    Path path = Files.writeString(folder.resolve("a"), "hello");
    try (BlockFile one = BlockFile.open(path, Access.READ_ONLY, first);
        BlockFile other = BlockFile.open(path, Access.READ_ONLY, Calls.NATIVE)) {
      one.lock();
      other.lock();

      assertInUse(path, Access.READ_WRITE, second);
    }
  }

  @Test
  void honoursTheLocksOfOtherPrograms() throws Exception {
    Path path = Files.writeString(folder.resolve("a"), "hello");
    try (FileChannel channel = FileChannel.open(path, StandardOpenOption.WRITE);
        FileLock held = channel.lock()) {
      assertThat(held.isValid()).isTrue();
      assertInUse(path, Access.READ_WRITE, Calls.NATIVE);
      assertInUse(path, Access.READ_ONLY, Calls.NATIVE);
    }
  }

  static Stream<Arguments> pairs() {
    return Stream.of(Calls.values())
        .flatMap(one -> Stream.of(Calls.values()).map(other -> Arguments.of(one, other)));
  }

  // Closing a file gives up all that this process locked portably: only at the end.
  private final List<BlockFile> refused = new ArrayList<>();

  @AfterEach
  void closeRefused() throws BlockException {
    for (BlockFile file : refused) {
      file.close();
    }
  }

  private void assertInUse(Path path, Access access, Calls calls) throws IOException {
    BlockFile file = BlockFile.open(path, access, calls);
    refused.add(file);
    assertThatThrownBy(file::lock)
        .isInstanceOf(FileSystemException.class)
        .hasMessageContaining("in use by another");
  }

  @Test
  void refusesUseAfterClose() throws IOException, BlockException {
    BlockFile file = BlockFile.create(folder.resolve("a"), Calls.NATIVE);
    file.close();

    assertThatThrownBy(() -> read(file, 0, 1)).isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(file::close).isInstanceOf(IllegalStateException.class);
  }

  @ParameterizedTest
  @EnumSource
  void saysThatThereIsNoSpace(Calls calls) throws Exception {
    // A file can't be longer than the file system's addresses reach.
    try (BlockFile file = BlockFile.create(folder.resolve("a"), calls)) {
      BlockException failure =
          catchThrowableOfType(
              BlockException.class,
              () ->
                  file.write(
                      Long.MAX_VALUE - 1, direct("x"), Durability.BUFFERED, Blocking.ALLOWED));

      assertThat(failure.reason()).isEqualTo(Reason.NO_SPACE);
      assertThat(failure).hasMessageContaining("File too large");
    }
  }

  private static ByteBuffer direct(String text) {
    ByteBuffer buffer = ByteBuffer.allocateDirect(text.length());
    for (int i = 0; i < text.length(); i++) {
      buffer.put(i, (byte) text.charAt(i));
    }
    return buffer;
  }

  private static String read(BlockFile file, long position, int length) throws BlockException {
    ByteBuffer target = ByteBuffer.allocateDirect(length);
    assertThat(file.read(position, target, Blocking.ALLOWED)).isEqualTo(Completion.DONE);
    assertThat(target.position()).isEqualTo(length);
    StringBuilder text = new StringBuilder();
    for (int i = 0; i < length; i++) {
      text.append((char) target.get(i));
    }
    return text.toString();
  }

  @Test
  void namesAccessAsDenied() {
    // Root may do almost all, but not this.
    assertThatThrownBy(() -> BlockFile.create(Path.of("/proc/self/filterd")))
        .isInstanceOfAny(AccessDeniedException.class, NoSuchFileException.class);
  }
}
