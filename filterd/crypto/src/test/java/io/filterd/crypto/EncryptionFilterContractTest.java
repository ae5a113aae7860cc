package io.filterd.crypto;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockDeviceContract;
import io.filterd.block.BlockException;
import io.filterd.block.BlockSizes;
import io.filterd.block.MemoryDevice;
import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Nested;

/** The filter is a device like any other, whatever the engine and the sizes. */
class EncryptionFilterContractTest {
  abstract static class Geometry extends BlockDeviceContract {
    private final String engine;
    private final int unitBytes;
    private final BlockSizes sizes;
    private final int allocationUnitBytes;
    private final List<SectorCipher> ciphers = new ArrayList<>();

    Geometry(String engine, int unitBytes, int maximum, int allocationUnitBytes) {
      this.engine = engine;
      this.unitBytes = unitBytes;
      // With smaller blocks below, a unit could be torn: a test of its own looks at that.
      this.sizes = new BlockSizes(unitBytes, 4096, maximum);
      this.allocationUnitBytes = allocationUnitBytes;
    }

    @Override
    protected BlockDevice create(long sizeBytes, UnaryOperator<BlockDevice> below)
        throws BlockException {
      SectorCipher cipher;
      try (SecretBytes dek = SecretBytes.random(XtsEngine.DEK_BYTES)) {
        cipher = XtsEngines.byName(engine).cipher(dek, unitBytes);
      }
      ciphers.add(cipher);
      return new EncryptionFilter(bottom(sizeBytes, below), cipher);
    }

    BlockDevice bottom(long sizeBytes, UnaryOperator<BlockDevice> below) {
      return below.apply(new MemoryDevice(sizeBytes, sizes, allocationUnitBytes));
    }

    @AfterEach
    void closeCiphers() {
      ciphers.forEach(SectorCipher::close);
    }
  }

  @Nested
  class OfSectors extends Geometry {
    OfSectors() {
      super("libgcrypt", 512, 1 << 20, 4096);
    }
  }

  @Nested
  class OfPages extends Geometry {
    OfPages() {
      super("openssl", 4096, 1 << 20, 4096);
    }
  }

  @Nested
  class OfGrains extends Geometry {
    OfGrains() {
      super("libgcrypt", 4096, 1 << 17, 1 << 16);
    }

    @Override
    protected int sizeBytes() {
      // Neither whole grains nor whole units.
      return 3 * (1 << 16) + 4096 + 512 + 16;
    }
  }

  @Nested
  class OfChunks extends Geometry {
    OfChunks() {
      super("libgcrypt", 4096, 1 << 20, 1 << 19);
    }

    @Override
    protected int sizeBytes() {
      return (1 << 20) + 4096;
    }

    @Override
    protected int modelSteps() {
      return 300;
    }
  }

  @Nested
  class InJava extends Geometry {
    InJava() {
      super("portable", 512, 4096, 1024);
    }

    @Override
    protected int sizeBytes() {
      return (1 << 15) + 16;
    }
  }

  /** A device that doesn't remember what holds no data, as a plain file. */
  @Nested
  class OverForgetfulDevice extends Geometry {
    OverForgetfulDevice() {
      super("openssl", 512, 1 << 20, 4096);
    }

    @Override
    BlockDevice bottom(long sizeBytes, UnaryOperator<BlockDevice> below) {
      return new ForgetfulDevice(super.bottom(sizeBytes, below));
    }
  }
}
