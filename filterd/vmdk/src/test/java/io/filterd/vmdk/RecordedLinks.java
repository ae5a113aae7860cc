package io.filterd.vmdk;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.file.BlockFile;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.TreeMap;

/**
 * The links of a folder, one file each, whose changes are remembered in their order over all files,
 * so that the folder can be seen as a crash at any moment would have left it. Never syncs. For one
 * thread.
 */
final class RecordedLinks implements LinkFiles {
  private sealed interface Change {
    Path file();

    @SuppressWarnings("ArrayRecordComponent") // never compared
    record Write(Path file, long position, byte[] bytes) implements Change {}

    record Truncate(Path file, long sizeBytes) implements Change {}

    record Punch(Path file, long position, long length) implements Change {}

    record Sync(Path file) implements Change {}

    record Create(Path file) implements Change {}

    record Named(Path file) implements Change {}

    record Delete(Path file) implements Change {}
  }

  private static final int SECTOR_BYTES = 512;

  private final boolean recording;
  private final Map<Path, byte[]> before = new TreeMap<>();
  private final List<Change> log = new ArrayList<>();

  private RecordedLinks(boolean recording) {
    this.recording = recording;
  }

  /** Only leaves out the syncs, which cost more than all else. */
  static RecordedLinks unsynced() {
    return new RecordedLinks(false);
  }

  /** Remembers what is done to the files of {@code folder} from now on. */
  static RecordedLinks of(Path folder) throws IOException {
    RecordedLinks links = new RecordedLinks(true);
    try (DirectoryStream<Path> files = Files.newDirectoryStream(folder)) {
      for (Path file : files) {
        links.before.put(file.getFileName(), Files.readAllBytes(file));
      }
    }
    return links;
  }

  int logSize() {
    return log.size();
  }

  /** The places of the log right before and behind each sync, creation and deletion. */
  List<Integer> steps() {
    List<Integer> steps = new ArrayList<>(List.of(0));
    for (int i = 0; i < log.size(); i++) {
      if (!(log.get(i) instanceof Change.Write)) {
        steps.add(i);
        steps.add(i + 1);
      }
    }
    return steps.stream().distinct().toList();
  }

  /** Writes the files into {@code folder} as a kill after the first {@code count} changes does. */
  void killedAfter(int count, Path folder) throws IOException {
    Map<Path, byte[]> files = new HashMap<>(before);
    for (Change change : log.subList(0, count)) {
      apply(change, files);
    }
    store(files, folder);
  }

  /**
   * Writes the files into {@code folder} as a power failure may leave them: of each file's changes
   * since its last sync, some sectors.
   */
  void lostPowerAfter(int count, SplittableRandom random, Path folder) throws IOException {
    Map<Path, Integer> synced = new HashMap<>();
    for (int i = 0; i < count; i++) {
      if (log.get(i) instanceof Change.Sync || log.get(i) instanceof Change.Named) {
        synced.put(log.get(i).file(), i);
      }
    }
    Map<Path, byte[]> files = new HashMap<>(before);
    double chance = random.nextInt(5) / 4.0;
    for (int i = 0; i < count; i++) {
      Change change = log.get(i);
      boolean durable =
          i <= synced.getOrDefault(change.file(), -1)
              || change instanceof Change.Delete
              || change instanceof Change.Create;
      if (durable) {
        apply(change, files);
      } else if (change instanceof Change.Write(Path file, long position, byte[] bytes)) {
        for (int at = 0; at < bytes.length; at += SECTOR_BYTES) {
          if (random.nextDouble() < chance) {
            int end = Math.min(bytes.length, at + SECTOR_BYTES);
            byte[] sector = Arrays.copyOfRange(bytes, at, end);
            apply(new Change.Write(file, position + at, sector), files);
          }
        }
      } else if (random.nextDouble() < chance) {
        apply(change, files);
      }
    }
    store(files, folder);
  }

  private static void store(Map<Path, byte[]> files, Path folder) throws IOException {
    Files.createDirectories(folder);
    for (Map.Entry<Path, byte[]> file : files.entrySet()) {
      Files.write(folder.resolve(file.getKey()), file.getValue());
    }
  }

  private static void apply(Change change, Map<Path, byte[]> files) {
    byte[] now = files.getOrDefault(change.file(), new byte[0]);
    switch (change) {
      case Change.Create(Path file) -> files.put(file, new byte[0]);
      case Change.Delete(Path file) -> files.remove(file);
      case Change.Write(Path file, long position, byte[] bytes) -> {
        int end = Math.toIntExact(position + bytes.length);
        byte[] next = end > now.length ? Arrays.copyOf(now, end) : now.clone();
        System.arraycopy(bytes, 0, next, (int) position, bytes.length);
        files.put(file, next);
      }
      case Change.Truncate(Path file, long sizeBytes) ->
          files.put(file, Arrays.copyOf(now, Math.toIntExact(sizeBytes)));
      case Change.Punch(Path file, long position, long length) -> {
        byte[] next = now.clone();
        int from = (int) Math.min(next.length, position);
        Arrays.fill(next, from, (int) Math.min(next.length, position + length), (byte) 0);
        files.put(file, next);
      }
      case Change.Sync(Path file) -> {}
      case Change.Named(Path file) -> {}
    }
  }

  private void log(Change change) {
    if (recording) {
      log.add(change);
    }
  }

  @Override
  public VmdkDisk open(Path link, Access access) throws IOException, BlockException {
    ExtentFile file = new Recorded(ExtentFiles.open(link, access), link.getFileName());
    boolean opened = false;
    try {
      VmdkDisk disk = VmdkDisk.openSparse(file, access);
      opened = true;
      return disk;
    } finally {
      if (!opened) {
        file.close();
      }
    }
  }

  @Override
  public void create(Path link, Contents contents) throws IOException, BlockException {
    log(new Change.Create(link.getFileName()));
    try (ExtentFile file =
        new Recorded(new StoredExtent(BlockFile.create(link)), link.getFileName())) {
      contents.write(file);
    }
    log(new Change.Named(link.getFileName()));
  }

  @Override
  public void delete(Path file) throws IOException {
    log(new Change.Delete(file.getFileName()));
    Files.deleteIfExists(file);
  }

  private final class Recorded implements ExtentFile {
    private final ExtentFile below;
    private final Path file;

    Recorded(ExtentFile below, Path file) {
      this.below = below;
      this.file = file;
    }

    @Override
    public String name() {
      return below.name();
    }

    @Override
    public long sizeBytes() throws BlockException {
      return below.sizeBytes();
    }

    @Override
    public boolean read(long position, ByteBuffer target, Blocking blocking) throws BlockException {
      return below.read(position, target, blocking);
    }

    @Override
    public boolean write(long position, ByteBuffer source, Blocking blocking)
        throws BlockException {
      if (recording) {
        byte[] bytes = new byte[source.remaining()];
        source.get(source.position(), bytes);
        log(new Change.Write(file, position, bytes));
      }
      return below.write(position, source, Blocking.ALLOWED);
    }

    @Override
    public void sync() {
      log(new Change.Sync(file));
    }

    @Override
    public void truncate(long sizeBytes) throws BlockException {
      log(new Change.Truncate(file, sizeBytes));
      below.truncate(sizeBytes);
    }

    @Override
    public void allocateZeros(long position, long length) throws BlockException {
      log(new Change.Punch(file, position, length));
      below.allocateZeros(position, length);
    }

    @Override
    public long nextData(long position, long end) throws BlockException {
      return below.nextData(position, end);
    }

    @Override
    public long nextHole(long position, long end) throws BlockException {
      return below.nextHole(position, end);
    }

    @Override
    public boolean punchHole(long position, long length) throws BlockException {
      log(new Change.Punch(file, position, length));
      return below.punchHole(position, length);
    }

    @Override
    public void close() throws BlockException {
      below.close();
    }
  }
}
