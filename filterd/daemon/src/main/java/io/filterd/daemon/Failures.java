package io.filterd.daemon;

import io.filterd.daemon.control.OperationException.Code;
import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;

/** What failures of files are called where people read it. */
public final class Failures {
  private Failures() {}

  /** The JDK's file exceptions often have a path for a message. */
  public static String sentence(IOException failure) {
    return switch (failure) {
      case NoSuchFileException missing -> missing.getFile() + ": there is no such file or folder";
      case FileAlreadyExistsException there -> there.getFile() + ": exists already";
      case AccessDeniedException denied -> denied.getFile() + ": permission denied";
      case FileSystemException other when other.getReason() != null ->
          other.getFile() + ": " + other.getReason();
      default -> String.valueOf(failure.getMessage());
    };
  }

  /** What a command that fails for this ends with. */
  public static Code code(IOException failure) {
    return switch (failure) {
      case NoSuchFileException missing -> Code.NOT_FOUND;
      case FileAlreadyExistsException there -> Code.CONFLICT;
      default -> Code.IO;
    };
  }
}
