package io.filterd.vmdk;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * Mends what {@link DiskCheck} finds repairable: a table of one set from its whole twin in the
 * other, a directory's entry that the others tell, lost space, the spare slot of the descriptor,
 * the mark of an open file. Never guesses at data: where two entries name one grain, or both tables
 * are damaged, it stays as it is, no space is given back in that file, and it keeps its mark.
 *
 * <p>Every byte that is changed is in a backup first. A crash leaves a disk that can be repaired
 * again: what a change needs is never changed before it is durable.
 */
public final class DiskRepair {
  /**
   * What a repair did.
   *
   * @param before what was found
   * @param after what is left
   * @param changes the number of ranges that were changed
   * @param backup what they held before; empty if there were none
   */
  public record Result(CheckReport before, CheckReport after, int changes, Optional<Path> backup) {}

  private static final int CHUNK_BYTES = 1 << 20;

  private DiskRepair() {}

  /**
   * Repairs a disk by its file.
   *
   * @param backup a new file, for what is changed; made only if something is
   * @throws java.nio.file.FileAlreadyExistsException if there is something of its name
   * @throws IOException if a file can't be opened, or is in use
   * @throws BlockException if a file can't be read or written
   */
  public static Result repair(Path file, Path backup) throws IOException, BlockException {
    if (Files.exists(backup)) {
      throw new FileAlreadyExistsException(backup.toString());
    }
    CheckReport before;
    int changes = 0;
    try (Inspection inspection = Inspection.of(file, Access.READ_WRITE)) {
      before = inspection.report();
      for (Inspection.Part part : inspection.parts()) {
        changes += wanted(part).size();
      }
      if (changes > 0) {
        RepairBackup.write(backup, inspection.cid(), inspection.parts());
        for (Inspection.Part part : inspection.parts()) {
          apply(part.file(), wanted(part));
        }
      }
    }
    CheckReport after = changes > 0 ? DiskCheck.check(file) : before;
    return new Result(before, after, changes, changes > 0 ? Optional.of(backup) : Optional.empty());
  }

  /** What is to be changed: a file that stays damaged keeps its mark, and its space. */
  static List<Patch> wanted(Inspection.Part part) {
    boolean trusted = part.findings().isTrusted();
    return part.findings().patches().stream()
        .filter(
            patch ->
                trusted
                    || switch (patch.step()) {
                      case TABLES, DIRECTORIES, SPARE_SLOT -> true;
                      case SPACE, MARK -> false;
                    })
        .toList();
  }

  /** Makes the changes, step by step. */
  static void apply(ExtentFile file, List<Patch> patches) throws BlockException {
    for (Patch.Step step : Patch.Step.values()) {
      boolean any = false;
      for (Patch patch : patches) {
        if (patch.step() == step) {
          apply(file, patch);
          any = true;
        }
      }
      if (any) {
        file.sync();
      }
    }
  }

  private static void apply(ExtentFile file, Patch patch) throws BlockException {
    switch (patch) {
      case Patch.Bytes(Patch.Step step, long position, byte[] bytes) ->
          write(file, position, bytes);
      case Patch.Copy(long from, long position, long length) -> {
        for (long at = 0; at < length; at += CHUNK_BYTES) {
          int count = (int) Math.min(CHUNK_BYTES, length - at);
          write(file, position + at, DescriptorCheck.bytes(file, from + at, count));
        }
      }
      case Patch.Punch(long position, long length) -> file.punchHole(position, length);
      case Patch.Cut(long position, long length) -> file.truncate(position);
    }
  }

  private static void write(ExtentFile file, long position, byte[] bytes) throws BlockException {
    ByteBuffer direct = ByteBuffer.allocateDirect(bytes.length).put(bytes).flip();
    file.write(position, direct, Blocking.ALLOWED);
  }

  /**
   * Puts a disk back to what it was before a repair.
   *
   * @param backup what the repair made; stays
   * @throws FormatException if it is damaged or of another disk, or the disk was written since:
   *     then nothing is changed
   */
  public static void undo(Path file, Path backup) throws IOException, BlockException {
    try (Inspection inspection = Inspection.of(file, Access.READ_WRITE)) {
      RepairBackup.restore(backup, file, inspection.parts(), inspection.cid());
    }
  }
}
