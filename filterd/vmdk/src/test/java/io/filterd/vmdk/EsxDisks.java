package io.filterd.vmdk;

import static io.filterd.vmdk.TestDisks.SECTOR;
import static java.nio.charset.StandardCharsets.US_ASCII;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.SplittableRandom;

/** Extents as only ESX makes them. */
final class EsxDisks {
  static final int SE_GRAIN = 4096;
  static final long SE_UNMAPPED = 1L << 60;
  static final long SE_ZERO = 2L << 60;

  /** Where {@link #seSparse} puts things, in sectors. */
  static final int SE_VOLATILE = 1;

  static final int SE_DIRECTORY = 16;
  static final int SE_TABLES = 24;
  private static final int SE_TABLE_SECTORS = 64;

  private EsxDisks() {}

  static byte[] noise(int bytes, long seed) {
    byte[] noise = new byte[bytes];
    SplittableRandom random = new SplittableRandom(seed);
    random.nextBytes(noise);
    return noise;
  }

  /**
   * A COWD extent.
   *
   * @param grains the content of each grain that it holds, by its number: each {@code grainSectors}
   *     long. An empty one is marked as zeros
   */
  static byte[] cowd(int sectors, int grainSectors, Map<Integer, byte[]> grains) {
    int tables = Math.ceilDiv(sectors, 4096 * grainSectors);
    int directorySectors = Math.ceilDiv(tables * 4, SECTOR);
    ByteBuffer file =
        ByteBuffer.allocate(
                (4 + directorySectors + tables * 32 + grains.size() * grainSectors) * SECTOR)
            .order(ByteOrder.LITTLE_ENDIAN);
    int free = 4 + directorySectors;
    for (Map.Entry<Integer, byte[]> grain : grains.entrySet()) {
      int directoryAt = 4 * SECTOR + grain.getKey() / 4096 * 4;
      if (file.getInt(directoryAt) == 0) {
        file.putInt(directoryAt, free);
        free += 32;
      }
      int entryAt = file.getInt(directoryAt) * SECTOR + grain.getKey() % 4096 * 4;
      if (grain.getValue().length == 0) {
        file.putInt(entryAt, 1);
        continue;
      }
      file.putInt(entryAt, free).put(free * SECTOR, grain.getValue());
      free += grainSectors;
    }
    file.put(0, "COWD".getBytes(US_ASCII)).putInt(4, 1).putInt(8, 3).putInt(12, sectors);
    file.putInt(16, grainSectors).putInt(20, 4).putInt(24, tables).putInt(28, free);
    byte[] bytes = new byte[free * SECTOR];
    file.get(0, bytes);
    return bytes;
  }

  /** A SESPARSE extent, its tables in reverse order. */
  static byte[] seSparse(
      int sectors, Map<Integer, byte[]> grains, Map<Integer, Long> marked, int firstIndex) {
    int tables = Math.ceilDiv(sectors, 4096 * 8);
    int grainsAt = SE_TABLES + tables * SE_TABLE_SECTORS + 16;
    int size = grainsAt * SECTOR + (firstIndex + grains.size()) * SE_GRAIN;
    ByteBuffer file = ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
    long[] fields = {
      0xcafebabeL,
      0x2_0000_0001L,
      sectors,
      8,
      SE_TABLE_SECTORS,
      0,
      0,
      0,
      0,
      0,
      SE_VOLATILE,
      1,
      2,
      2,
      4,
      8,
      SE_DIRECTORY,
      1,
      SE_TABLES,
      tables * (long) SE_TABLE_SECTORS,
      grainsAt - 16,
      8,
      grainsAt - 8,
      8,
      grainsAt,
      (firstIndex + grains.size()) * 8L
    };
    file.asLongBuffer().put(fields);
    file.putLong(SE_VOLATILE * SECTOR, 0xcafecafeL).putLong(SE_VOLATILE * SECTOR + 8, tables);
    int index = firstIndex;
    for (Map.Entry<Integer, byte[]> grain : grains.entrySet()) {
      file.put(grainsAt * SECTOR + index * SE_GRAIN, grain.getValue());
      long entry = 3L << 60 | (index & 0xfffL) << 48 | index >> 12;
      file.putLong(seEntryAt(file, tables, grain.getKey()), entry);
      index++;
    }
    marked.forEach((grain, entry) -> file.putLong(seEntryAt(file, tables, grain), entry));
    return file.array();
  }

  private static int seEntryAt(ByteBuffer file, int tables, int grain) {
    int table = tables - 1 - grain / 4096;
    file.putLong(SE_DIRECTORY * SECTOR + grain / 4096 * 8, 1L << 60 | table);
    return (SE_TABLES + table * SE_TABLE_SECTORS) * SECTOR + grain % 4096 * 8;
  }

  /** Writes a flat base disk, a snapshot over it, and the snapshot's extent; says its path. */
  static Path snapshot(Path folder, byte[] base, String type, byte[] extent) throws IOException {
    int sectors = base.length / SECTOR;
    Files.write(folder.resolve("base-flat.vmdk"), base);
    Files.writeString(
        folder.resolve("base.vmdk"),
        TestDisks.descriptor("vmfs", "RW " + sectors + " VMFS \"base-flat.vmdk\""));
    boolean small = type.equals("SESPARSE");
    String name = "base-000001-" + (small ? "sesparse" : "delta") + ".vmdk";
    Files.write(folder.resolve(name), extent);
    String text =
        TestDisks.descriptor(
                small ? "seSparse" : "vmfsSparse",
                "RW " + sectors + " " + type + " \"" + name + "\"")
            .replace("parentCID=ffffffff", "parentCID=1234abcd\nparentFileNameHint=\"base.vmdk\"");
    return Files.writeString(folder.resolve("base-000001.vmdk"), text);
  }
}
