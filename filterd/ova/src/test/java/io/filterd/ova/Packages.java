package io.filterd.ova;

import static java.nio.charset.StandardCharsets.UTF_8;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Durability;
import io.filterd.block.MemoryDevice;
import io.filterd.vmdk.StreamWriter;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveOutputStream;
import org.apache.commons.compress.archivers.tar.TarConstants;

/** Packages for tests. */
final class Packages {
  static final int DISK_BYTES = 1 << 20;
  static final String STREAM =
      "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized";

  private Packages() {}

  /** A disk of 1 MiB with this byte in its third sector, and else zeros. */
  static MemoryDevice device(int value) throws BlockException {
    MemoryDevice device = new MemoryDevice(DISK_BYTES);
    ByteBuffer sector = ByteBuffer.allocateDirect(512);
    sector.put(0, (byte) value);
    device.write(1024, sector, Durability.BUFFERED, Blocking.ALLOWED);
    return device;
  }

  /** The file of such a disk. */
  static byte[] disk(int value) throws IOException, BlockException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    StreamWriter.write(device(value), "disk.vmdk", bytes, (done, total) -> true);
    return bytes.toByteArray();
  }

  /** An envelope with one disk, {@code disk.vmdk}; pieces of it can be replaced. */
  static String envelope() {
    return """
    <?xml version="1.0"?>
    <ovf:Envelope xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" \
    xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData">
      <ovf:References>
        <ovf:File ovf:id="file1" ovf:href="disk.vmdk"/>
      </ovf:References>
      <ovf:DiskSection>
        <ovf:Info/>
        <ovf:Disk ovf:diskId="vmdisk1" ovf:fileRef="file1" ovf:capacity="1" \
    ovf:capacityAllocationUnits="byte * 2^20" ovf:format="%s"/>
      </ovf:DiskSection>
      <ovf:VirtualSystem ovf:id="web">
        <ovf:Info/>
        <ovf:VirtualHardwareSection>
          <ovf:Info/>
          <ovf:Item>
            <rasd:HostResource>ovf:/disk/vmdisk1</rasd:HostResource>
            <rasd:ResourceType>17</rasd:ResourceType>
          </ovf:Item>
        </ovf:VirtualHardwareSection>
      </ovf:VirtualSystem>
    </ovf:Envelope>
    """
        .formatted(STREAM);
  }

  /** A tar with these files, in their order. */
  static Path tar(Path file, Map<String, byte[]> files) throws IOException {
    try (TarArchiveOutputStream out = new TarArchiveOutputStream(Files.newOutputStream(file))) {
      for (Map.Entry<String, byte[]> each : files.entrySet()) {
        // Keeps leading slashes.
        TarArchiveEntry entry = new TarArchiveEntry(each.getKey(), TarConstants.LF_NORMAL, true);
        entry.setSize(each.getValue().length);
        out.putArchiveEntry(entry);
        out.write(each.getValue());
        out.closeArchiveEntry();
      }
    }
    return file;
  }

  static byte[] utf8(String text) {
    return text.getBytes(UTF_8);
  }
}
