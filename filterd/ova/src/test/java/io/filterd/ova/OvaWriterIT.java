package io.filterd.ova;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.file.BlockFile;
import io.filterd.block.file.FileDevice;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The tools of the system take a package of ours apart. */
class OvaWriterIT {
  @TempDir Path folder;

  @Test
  void isTakenApartByTarAndReadByOthers() throws BlockException, IOException, InterruptedException {
    Path first = content("first.raw", 5 << 20);
    Path second = content("second.raw", (40 << 20) + 512);
    Path file = folder.resolve("web.ova");
    try (OvaWriter ova = OvaWriter.create(file, "web", List.of("root", "data"))) {
      for (Path raw : List.of(first, second)) {
        try (BlockDevice source = FileDevice.open(raw, BlockFile.Access.READ_ONLY)) {
          assertThat(ova.add(source, (done, total) -> true)).isTrue();
        }
      }
      ova.finish();
    }

    assertThat(run("tar", "tf", file.toString()).lines())
        .containsExactly("web.ovf", "web.mf", "web-root.vmdk", "web-data.vmdk");
    assertThat(Files.size(file) % 10_240).isZero();
    Path out = Files.createDirectory(folder.resolve("out"));
    run("tar", "xf", file.toString(), "-C", out.toString());
    // As sha256sum writes it, from what DSP0243 wants.
    String sums =
        Files.readString(out.resolve("web.mf"))
            .replaceAll("SHA256\\((.*)\\)= ([0-9a-f]{64})\n", "$2  $1\n");
    assertThat(sums).hasLineCount(3);
    Files.writeString(out.resolve("sums"), sums);
    run("sh", "-c", "cd " + out + " && sha256sum -c --strict sums");
    run(
        "/usr/bin/python3",
        "-c",
        """
        import sys, os
        import xml.etree.ElementTree as tree
        root = tree.parse(sys.argv[1]).getroot()
        ovf = '{http://schemas.dmtf.org/ovf/envelope/1}'
        assert root.tag == ovf + 'Envelope'
        files = root.findall(ovf + 'References/' + ovf + 'File')
        folder = os.path.dirname(sys.argv[1])
        for file in files:
            path = os.path.join(folder, file.get(ovf + 'href'))
            assert int(file.get(ovf + 'size')) == os.path.getsize(path)
        disks = root.findall(ovf + 'DiskSection/' + ovf + 'Disk')
        assert [int(d.get(ovf + 'capacity')) for d in disks] == [5 << 20, (40 << 20) + 512]
        """,
        out.resolve("web.ovf").toString());
    compare(out.resolve("web-root.vmdk"), first);
    compare(out.resolve("web-data.vmdk"), second);
  }

  private static void compare(Path disk, Path raw) throws IOException, InterruptedException {
    assertThat(run("qemu-img", "info", "-f", "vmdk", disk.toString())).contains("streamOptimized");
    run("qemu-img", "compare", "-f", "vmdk", "-F", "raw", disk.toString(), raw.toString());
    assertThat(run("vmdkinfo", disk.toString())).contains("Stream optimized");
  }

  private Path content(String name, int bytes) throws IOException {
    byte[] content = new byte[bytes];
    byte[] noise = new byte[bytes / 3];
    new Random(bytes).nextBytes(noise);
    System.arraycopy(noise, 0, content, bytes - noise.length, noise.length);
    return Files.write(folder.resolve(name), content);
  }

  private static String run(String... command) throws IOException, InterruptedException {
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    process.getOutputStream().close();
    String output = new String(process.getInputStream().readAllBytes(), UTF_8);
    assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
    assertThat(process.exitValue()).as("%s: %s", String.join(" ", command), output).isZero();
    return output;
  }
}
