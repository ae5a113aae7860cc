package io.filterd.daemon.control;

import io.filterd.inventory.ServeOptions;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** The arguments of the operations. Paths are absolute. */
public final class Requests {
  private Requests() {}

  /** Refuses what was asked for without a field, or with null for it. */
  static void require(@Nullable Object value, String field) {
    if (value == null) {
      throw new IllegalArgumentException(field + ": is missing");
    }
  }

  /** Refuses a path that no file system has. */
  private static void requirePath(@Nullable String path, String field) {
    require(path, field);
    checkPath(path, field);
  }

  static void checkPath(@Nullable String path, String field) {
    if (path != null) {
      try {
        var _ = Path.of(path);
      } catch (InvalidPathException wrong) {
        throw new IllegalArgumentException(
            field + ": " + wrong.getReason() + " (expected: a path)", wrong);
      }
    }
  }

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
   * @param layout how it is laid out in files, in VMware's words; null for monolithicSparse
   */
  public record CreateDisk(
      String name,
      long sizeBytes,
      String policy,
      @Nullable String file,
      boolean withoutBackup,
      @Nullable String layout) {
    /** Checks what came from outside. */
    public CreateDisk {
      require(name, "name");
      require(policy, "policy");
      checkPath(file, "file");
    }

    /** Makes a disk in the usual layout. */
    public CreateDisk(
        String name, long sizeBytes, String policy, @Nullable String file, boolean withoutBackup) {
      this(name, sizeBytes, policy, file, withoutBackup, null);
    }
  }

  /**
   * Makes a disk with the content of another.
   *
   * @param source a VMDK or a raw file
   * @param sourceFormat {@code vmdk}, also for a stream, or {@code raw}
   */
  public record ImportDisk(
      String name,
      String source,
      String sourceFormat,
      String policy,
      @Nullable String file,
      boolean withoutBackup) {
    /** Checks what came from outside. */
    public ImportDisk {
      require(name, "name");
      requirePath(source, "source");
      require(sourceFormat, "sourceFormat");
      require(policy, "policy");
      checkPath(file, "file");
    }
  }

  /**
   * Writes a disk's content, in the clear, to a new file.
   *
   * @param targetFormat {@code vmdk}, {@code stream} or {@code raw}
   */
  public record ExportDisk(String name, String target, String targetFormat) {
    /** Checks what came from outside. */
    public ExportDisk {
      require(name, "name");
      requirePath(target, "target");
      require(targetFormat, "targetFormat");
    }
  }

  /**
   * Writes all disks of a VM, in the clear, to a new package.
   *
   * @param target an .ova
   */
  public record ExportVm(String vm, String target) {
    /** Checks what came from outside. */
    public ExportVm {
      require(vm, "vm");
      requirePath(target, "target");
    }
  }

  /**
   * Makes the disks of a VM out of a package.
   *
   * @param source an .ova, or an .ovf with the other files beside it
   * @param vm the VM's name here; its disks become {@code vm/disk0} and so on
   */
  public record ImportVm(String source, String vm, String policy, boolean withoutBackup) {
    /** Checks what came from outside. */
    public ImportVm {
      requirePath(source, "source");
      require(vm, "vm");
      require(policy, "policy");
    }
  }

  /** Names a disk. */
  public record Disk(String name) {
    /** Checks what came from outside. */
    public Disk {
      require(name, "name");
    }
  }

  /**
   * Serves a disk.
   *
   * @param file the disk's file, for one the inventory does not know; else null
   * @param options how it is served; as usual where a call does not say
   */
  public record AttachDisk(String name, @Nullable String file, ServeOptions options) {
    /** Checks what came from outside. */
    public AttachDisk {
      require(name, "name");
      checkPath(file, "file");
      options = options == null ? ServeOptions.DEFAULT : options;
    }

    /** Serves a disk for writing. */
    public AttachDisk(String name, @Nullable String file) {
      this(name, file, ServeOptions.DEFAULT);
    }
  }

  /** Lets clients only read a disk, or write it again. */
  public record SetReadOnly(String name, boolean readOnly) {
    /** Checks what came from outside. */
    public SetReadOnly {
      require(name, "name");
    }
  }

  /** Names a point in the changes of a disk. */
  public record ChangePoint(String name, String point) {
    /** Checks what came from outside. */
    public ChangePoint {
      require(name, "name");
      require(point, "point");
    }
  }

  /**
   * Asks what was changed since a point.
   *
   * @param offset from where on, in bytes
   */
  public record Changes(String name, String point, long offset) {
    /** Checks what came from outside. */
    public Changes {
      require(name, "name");
      require(point, "point");
    }
  }

  /** Names a connection by its number. */
  public record Connection(long id) {}

  /** Gives a disk another policy. */
  public record ApplyPolicy(String name, String policy) {
    /** Checks what came from outside. */
    public ApplyPolicy {
      require(name, "name");
      require(policy, "policy");
    }
  }

  /** Takes a snapshot of a disk, with a name or with one that is found for it. */
  public record CreateSnapshot(String name, @Nullable String snapshot) {
    /** Checks what came from outside. */
    public CreateSnapshot {
      require(name, "name");
    }
  }

  /** Names a snapshot of a disk. */
  public record Snapshot(String name, String snapshot) {
    /** Checks what came from outside. */
    public Snapshot {
      require(name, "name");
      require(snapshot, "snapshot");
    }
  }

  /**
   * Takes a disk back to a snapshot.
   *
   * @param discard whether what the disk held since is deleted
   */
  public record RevertSnapshot(String name, String snapshot, boolean discard) {
    /** Checks what came from outside. */
    public RevertSnapshot {
      require(name, "name");
      require(snapshot, "snapshot");
    }
  }

  /** Names a key provider of the configuration; null for the default one. */
  public record Provider(@Nullable String provider) {}

  /**
   * Copies a provider's secret to or from a backup.
   *
   * @param file the backup
   * @param passphraseFile holds the passphrase that seals the backup
   */
  public record ProviderBackup(@Nullable String provider, String file, String passphraseFile) {
    /** Checks what came from outside. */
    public ProviderBackup {
      requirePath(file, "file");
      requirePath(passphraseFile, "passphraseFile");
    }
  }

  /**
   * Puts a provider's secret under the seal that is configured.
   *
   * @param from the kind of seal that it is under now
   */
  public record ProviderReseal(@Nullable String provider, String from) {
    /** Checks what came from outside. */
    public ProviderReseal {
      require(from, "from");
    }
  }

  /** One operation, asked over the control socket. */
  public record Call(String operation, com.fasterxml.jackson.databind.JsonNode arguments) {
    /** Checks what came from outside. */
    public Call {
      require(operation, "operation");
      if (arguments == null || !arguments.isObject()) {
        throw new IllegalArgumentException("arguments: " + arguments + " (expected: an object)");
      }
    }
  }

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
