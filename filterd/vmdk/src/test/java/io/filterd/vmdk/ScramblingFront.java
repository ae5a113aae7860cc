package io.filterd.vmdk;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Capability;
import io.filterd.block.CheckedDevice;
import io.filterd.block.Completion;
import io.filterd.block.DeviceInfo;
import io.filterd.block.Durability;
import io.filterd.block.ExtentKind;
import io.filterd.block.Extents;
import io.filterd.block.IoFilter;
import io.filterd.block.ZeroMode;
import java.nio.ByteBuffer;
import java.util.SplittableRandom;

/**
 * Stands in for the cipher of a link, which is in another module: what is stored is changed by a
 * key of the link, in whole units of 4096 bytes. Links without encryption are left alone.
 */
final class ScramblingFront implements LinkedDisk.Front {
  private static final int UNIT_BYTES = 4096;

  @Override
  public BlockDevice over(VmdkDisk link) {
    BlockDevice below = new CheckedDevice(link.link());
    return link.encryption().isEmpty()
        ? below
        : new CheckedDevice(new Scrambled(below, link.encryption().get().linkId().hashCode() | 1));
  }

  /** What a new link's descriptor says, with a key of its own. */
  static EncryptionMetadata metadata(SplittableRandom random) {
    Locker locker = new Locker("test", "key", "0011223344556677", "AES-256-GCM", "A".repeat(124));
    String id = "%08x-0000-4000-8000-%012x".formatted(random.nextInt(), random.nextInt() & 0xffff);
    return EncryptionMetadata.of(UNIT_BYTES, "00000000-0000-4000-8000-000000000000", id, locker);
  }

  private static final class Scrambled extends IoFilter {
    private final int key;

    Scrambled(BlockDevice below, int key) {
      super(below);
      this.key = key;
    }

    @Override
    public DeviceInfo info() {
      DeviceInfo info = below.info();
      return info.withBlockSizes(info.blockSizes().atLeast(UNIT_BYTES))
          .without(Capability.PARTIAL_ALLOCATION);
    }

    private void scramble(ByteBuffer bytes, int from, int to, long offset) {
      for (int i = from; i < to; i++) {
        int at = (int) (offset + i - from);
        bytes.put(i, (byte) (bytes.get(i) ^ (key >>> (at % 4 * 8)) ^ at / 512));
      }
    }

    @Override
    public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
      int start = target.position();
      int length = target.remaining();
      Extents extents = below.read(offset, target, blocking);
      int at = 0;
      for (int i = 0; i < extents.count(); i++) {
        int bytes = (int) extents.lengthBytes(i, length);
        if (extents.kind(i) == ExtentKind.DATA) {
          for (int sector = at; sector < at + bytes; sector += TestDisks.SECTOR) {
            int end = Math.min(sector + TestDisks.SECTOR, at + bytes);
            // As under a cipher, a sector of zeros was never written.
            if (!Zeros.isAll(target.duplicate().limit(start + end).position(start + sector))) {
              scramble(target, start + sector, start + end, offset + sector);
            }
          }
        }
        at += bytes;
      }
      return extents;
    }

    @Override
    public Completion write(
        long offset, ByteBuffer source, Durability durability, Blocking blocking)
        throws BlockException {
      if (blocking == Blocking.FORBIDDEN) {
        return Completion.WOULD_BLOCK;
      }
      ByteBuffer copy = ByteBuffer.allocateDirect(source.remaining());
      copy.put(source.duplicate()).flip();
      scramble(copy, 0, copy.limit(), offset);
      below.write(offset, copy, durability, blocking);
      source.position(source.limit());
      return Completion.DONE;
    }

    @Override
    public Completion zero(
        long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
        throws BlockException {
      boolean whole =
          offset % TestDisks.GRAIN == 0
              && ((offset + length) % TestDisks.GRAIN == 0
                  || offset + length == info().sizeBytes());
      if (whole && !mode.allocates()) {
        return below.zero(offset, length, mode, durability, blocking);
      }
      write(offset, ByteBuffer.allocateDirect(Math.toIntExact(length)), durability, blocking);
      return Completion.DONE;
    }

    @Override
    public Completion trim(long offset, long length, Durability durability, Blocking blocking)
        throws BlockException {
      return zero(offset, length, ZeroMode.MAY_DEALLOCATE, durability, blocking);
    }

    @Override
    public Completion flush(Blocking blocking) throws BlockException {
      return below.flush(blocking);
    }

    @Override
    public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
      return below.extents(offset, length, blocking);
    }
  }
}
