package io.filterd.vmdk;

import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.file.BlockFile;
import io.filterd.block.file.FileDevice;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Others read the streams that we write. */
class StreamWriterIT {
  @TempDir Path folder;

  /** One table, an end inside a grain, and several tables of which one is left out. */
  @ParameterizedTest
  @ValueSource(ints = {8 << 20, (5 << 20) + 3 * 512, 100 << 20})
  void isReadByOthers(int bytes) throws BlockException, IOException, InterruptedException {
    byte[] content = TestDisks.content(bytes, new SplittableRandom(bytes));
    content[bytes - 1] = 1;
    if (bytes > 64 << 20) {
      Arrays.fill(content, 32 << 20, 64 << 20, (byte) 0);
    }
    Path raw = Files.write(folder.resolve("content.raw"), content);
    Path file = folder.resolve("stream.vmdk");
    Process pipe =
        new ProcessBuilder("cat")
            .redirectOutput(file.toFile())
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    try (BlockDevice source = FileDevice.open(raw, BlockFile.Access.READ_ONLY);
        OutputStream out = pipe.getOutputStream()) {
      assertThat(StreamWriter.write(source, "stream.vmdk", out, (done, total) -> true)).isTrue();
    }
    assertThat(pipe.waitFor(60, TimeUnit.SECONDS)).isTrue();

    String name = file.toString();
    assertThat(run("qemu-img", "info", "-f", "vmdk", name))
        .contains("create type: streamOptimized", "compressed: true");
    run("qemu-img", "compare", "-f", "vmdk", "-F", "raw", name, raw.toString());
    Path converted = folder.resolve("converted.raw");
    run("qemu-img", "convert", "-f", "vmdk", "-O", "raw", name, converted.toString());
    assertThat(Files.mismatch(converted, raw)).isEqualTo(-1);
    assertThat(run("vmdkinfo", name)).contains("Stream optimized");
    Path mount = Files.createDirectory(folder.resolve("mount"));
    run("vmdkmount", name, mount.toString());
    try {
      assertThat(Files.mismatch(mount.resolve("vmdk1"), raw)).isEqualTo(-1);
    } finally {
      run("fusermount", "-u", mount.toString());
    }
    Path unpacked = folder.resolve("7z");
    run("7z", "x", "-y", "-tVMDK", "-o" + unpacked, name);
    try (Stream<Path> files = Files.list(unpacked)) {
      assertThat(Files.mismatch(files.findFirst().orElseThrow(), raw)).isEqualTo(-1);
    }
  }

  private static String run(String... command) throws IOException, InterruptedException {
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    process.getOutputStream().close();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
    assertThat(process.exitValue()).as("%s: %s", String.join(" ", command), output).isZero();
    return output;
  }
}
