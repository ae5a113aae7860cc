package io.filterd.block.file;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.block.BlockException;
import io.filterd.block.file.BlockFile.Access;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class AtomicFileTest {
  private static final byte[] CONTENTS = "new contents".getBytes(StandardCharsets.UTF_8);

  @TempDir Path folder;

  @Test
  void makesANewFileForItsOwnerOnly() throws IOException {
    Path file = folder.resolve("a");

    AtomicFile.replace(file, CONTENTS);

    assertThat(file).hasBinaryContent(CONTENTS);
    assertThat(mode(file)).isEqualTo("rw-------");
    assertThat(folder).isDirectoryNotContaining("glob:**.new");
  }

  @Test
  void replacesAFileAndKeepsItsMode() throws IOException {
    Path file = Files.writeString(folder.resolve("a"), "old, and longer than the new contents");
    Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rw-r-----"));

    AtomicFile.replace(file, CONTENTS);

    assertThat(file).hasBinaryContent(CONTENTS);
    assertThat(mode(file)).isEqualTo("rw-r-----");
  }

  @Test
  void overwritesWhatACrashLeft() throws IOException {
    Path file = folder.resolve("a");
    Files.writeString(folder.resolve("a.new"), "half");

    AtomicFile.replace(file, new byte[0]);

    assertThat(file).isEmptyFile();
  }

  @Test
  void leavesALinkAlone() throws IOException {
    Path target = Files.writeString(folder.resolve("a"), "old");
    Path link = Files.createSymbolicLink(folder.resolve("link"), target);

    assertThatThrownBy(() -> AtomicFile.replace(link, CONTENTS))
        .isInstanceOf(FileSystemException.class)
        .hasMessageContaining("expected: a regular file");

    assertThat(target).hasContent("old");
    assertThat(link).isSymbolicLink();
  }

  @Test
  void failsWhereThereIsNoFolder() {
    assertThatThrownBy(() -> AtomicFile.replace(folder.resolve("none/a"), CONTENTS))
        .isInstanceOf(NoSuchFileException.class);
  }

  @Test
  void locksTheNewFileBeforeItHasTheName() throws IOException, BlockException {
    Path file = Files.writeString(folder.resolve("a"), "old");
    try (BlockFile old = BlockFile.open(file, Access.READ_WRITE)) {
      old.lock();
      try (BlockFile replaced = AtomicFile.replaceLocked(file, CONTENTS);
          BlockFile other = BlockFile.open(file, Access.READ_ONLY)) {
        assertThat(file).hasBinaryContent(CONTENTS);
        assertThat(replaced.sizeBytes()).isEqualTo(CONTENTS.length);
        assertThat(old.isNamed()).isFalse();
        assertThat(other.isNamed()).isTrue();
        assertThatThrownBy(other::lock).hasMessageContaining("in use");
      }
    }
  }

  private static String mode(Path file) throws IOException {
    return PosixFilePermissions.toString(Files.getPosixFilePermissions(file));
  }
}
