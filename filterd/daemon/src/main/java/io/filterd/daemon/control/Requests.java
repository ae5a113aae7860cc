package io.filterd.daemon.control;

import java.util.List;
import org.jspecify.annotations.Nullable;

/** The arguments of the operations. Paths are absolute. */
public final class Requests {
  private Requests() {}

  /** Nothing more to say. */
  public record None() {}

  /**
   * Makes an empty disk.
   *
   * @param name {@code vm/disk}
   * @param sizeBytes its size
   * @param policy the storage policy
   * @param file where, or null for the folder of disks
   * @param withoutBackup whether keys may be made by a provider that was never backed up
   */
  public record CreateDisk(
      String name, long sizeBytes, String policy, @Nullable String file, boolean withoutBackup) {}

  /**
   * Makes a disk with the content of another.
   *
   * @param source a VMDK or a raw file
   * @param sourceFormat {@code vmdk} or {@code raw}
   */
  public record ImportDisk(
      String name,
      String source,
      String sourceFormat,
      String policy,
      @Nullable String file,
      boolean withoutBackup) {}

  /**
   * Writes a disk's content, in the clear, to a new file.
   *
   * @param targetFormat {@code vmdk} or {@code raw}
   */
  public record ExportDisk(String name, String target, String targetFormat) {}

  /** Names a disk. */
  public record Disk(String name) {}

  /**
   * Serves a disk.
   *
   * @param file the disk's file, for one the inventory does not know; else null
   */
  public record AttachDisk(String name, @Nullable String file) {}

  /** Gives a disk another policy. */
  public record ApplyPolicy(String name, String policy) {}

  /** Names a key provider of the configuration; null for the default one. */
  public record Provider(@Nullable String provider) {}

  /**
   * Copies a provider's secret to or from a backup.
   *
   * @param file the backup
   * @param passphraseFile holds the passphrase that seals the backup
   */
  public record ProviderBackup(@Nullable String provider, String file, String passphraseFile) {}

  /** One operation, asked over the control socket. */
  public record Call(String operation, com.fasterxml.jackson.databind.JsonNode arguments) {}

  /** One line of the answer: exactly one of the three is there. */
  public record Answer(
      @Nullable Step progress,
      com.fasterxml.jackson.databind.@Nullable JsonNode result,
      @Nullable Failure error) {}

  /** How far a long operation is. */
  public record Step(long doneBytes, long totalBytes) {}

  /** Why an operation was refused or failed. */
  public record Failure(OperationException.Code code, String message, List<String> details) {}
}
