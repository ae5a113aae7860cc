package io.filterd.bench;

import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * A file of bench/results/: words, and between two marks the figures, which a run replaces. A new
 * file gets the figures and their marks alone.
 */
final class ResultFile {
  private static final String BEGIN = "<!-- figures -->\n";
  private static final String END = "<!-- end of figures -->\n";

  private final Path path;
  private final String before;
  private final String after;

  private ResultFile(Path path, String before, String after) {
    this.path = path;
    this.before = before;
    this.after = after;
  }

  /** Looks at the file, so that a run whose figures have no place is not begun. */
  static ResultFile open(Path path) throws IOException {
    if (!Files.exists(path)) {
      return new ResultFile(path, "", "");
    }
    String text = Files.readString(path);
    int begin = text.indexOf(BEGIN);
    int end = text.indexOf(END);
    if (begin < 0 || end < begin) {
      throw new FileSystemException(
          path.toString(), null, "has no lines " + BEGIN.strip() + " and " + END.strip());
    }
    return new ResultFile(path, text.substring(0, begin), text.substring(end + END.length()));
  }

  /** Puts the figures between the marks. */
  void replaceFigures(String figures) throws IOException {
    Files.writeString(path, before + BEGIN + "\n" + figures.strip() + "\n\n" + END + after);
  }
}
