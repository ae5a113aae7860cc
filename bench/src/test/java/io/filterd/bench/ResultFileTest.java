package io.filterd.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class ResultFileTest {
  @TempDir private Path folder = Path.of("");

  @Test
  void replacesFiguresAndKeepsWords() throws IOException {
    Path file = folder.resolve("result.md");
    Files.writeString(
        file, "# Title\n\n<!-- figures -->\n\n1\n\n<!-- end of figures -->\n\nWords.\n");

    ResultFile.open(file).replaceFigures("2\n\n");

    assertThat(file)
        .hasContent("# Title\n\n<!-- figures -->\n\n2\n\n<!-- end of figures -->\n\nWords.\n");
  }

  @Test
  void givesANewFileItsMarks() throws IOException {
    Path file = folder.resolve("result.md");

    ResultFile.open(file).replaceFigures("1");
    ResultFile.open(file).replaceFigures("2");

    assertThat(file).hasContent("<!-- figures -->\n\n2\n\n<!-- end of figures -->\n");
  }

  @Test
  void refusesAFileWithoutMarks() throws IOException {
    Path file = folder.resolve("result.md");
    Files.writeString(file, "Only words.\n");

    assertThatThrownBy(() -> ResultFile.open(file)).hasMessageContaining("<!-- figures -->");
  }
}
