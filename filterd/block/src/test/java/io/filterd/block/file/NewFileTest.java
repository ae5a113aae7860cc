package io.filterd.block.file;

import static java.nio.charset.StandardCharsets.US_ASCII;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class NewFileTest {
  @TempDir Path folder;

  private static void write(NewFile file, String text) throws IOException {
    file.channel().write(ByteBuffer.wrap(text.getBytes(US_ASCII)));
  }

  @Test
  void appearsWhenItIsComplete() throws Exception {
    Path target = folder.resolve("new");
    try (NewFile file = NewFile.create(target)) {
      write(file, "content");
      assertThat(target).doesNotExist();

      file.complete();
    }

    assertThat(target).hasContent("content");
    assertThat(folder).isDirectoryContaining("glob:**/new");
    assertThat(folder.toFile().list()).hasSize(1);
    assertThat(Files.getPosixFilePermissions(target))
        .isEqualTo(PosixFilePermissions.fromString("rw-------"));
  }

  @Test
  void leavesNothingIfItIsNotCompleted() throws Exception {
    try (NewFile file = NewFile.create(folder.resolve("new"))) {
      write(file, "content");
    }

    assertThat(folder).isEmptyDirectory();
  }

  @Test
  void leavesWhatIsThereAlone() throws Exception {
    Path target = Files.writeString(folder.resolve("there"), "precious");

    assertThatThrownBy(() -> NewFile.create(target)).isInstanceOf(FileAlreadyExistsException.class);

    assertThat(target).hasContent("precious");
  }

  @Test
  void leavesAloneWhatAppearedMeanwhile() throws Exception {
    Path target = folder.resolve("there");
    try (NewFile file = NewFile.create(target)) {
      write(file, "content");
      Files.writeString(target, "precious");

      assertThatThrownBy(file::complete).isInstanceOf(FileAlreadyExistsException.class);
    }

    assertThat(target).hasContent("precious");
    assertThat(folder.toFile().list()).hasSize(1);
  }
}
