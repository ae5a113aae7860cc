package io.filterd.daemon;

import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import java.util.Arrays;
import java.util.stream.Collectors;

/** What files with a disk's content are called in commands. */
enum DiskFormat {
  /** A thin disk in one file. */
  VMDK("vmdk", "monolithicSparse"),
  /** A compressed disk that is written from front to end, as packages have it. */
  STREAM("stream", "streamOptimized"),
  /** The content itself. */
  RAW("raw", "raw");

  private final String word;
  private final String createType;

  DiskFormat(String word, String createType) {
    this.word = word;
    this.createType = createType;
  }

  /** Reads a word of ours, or VMware's create type. */
  static DiskFormat parse(String text) throws OperationException {
    for (DiskFormat format : values()) {
      if (format.word.equalsIgnoreCase(text) || format.createType.equalsIgnoreCase(text)) {
        return format;
      }
    }
    String words =
        Arrays.stream(values()).map(format -> format.word).collect(Collectors.joining(", "));
    throw new OperationException(
        Code.INVALID, "format: " + text + " (expected: one of " + words + ")");
  }
}
