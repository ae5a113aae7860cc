package io.filterd.vmdk;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestInstance.Lifecycle;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Every sample opens with the content that its manifest gives, or is refused as that says. */
@TestInstance(Lifecycle.PER_CLASS)
class SamplesTest {
  /** A line of the manifest. */
  record Sample(String file, long bytes, String sha256, String guestBytes, String outcome) {
    static Sample of(String line) {
      String[] fields = line.split("\t", -1);
      return new Sample(fields[0], Long.parseLong(fields[1]), fields[2], fields[3], fields[4]);
    }

    boolean isDisk() {
      return !guestBytes.equals("-");
    }

    @Override
    public String toString() {
      return file;
    }
  }

  private Path folder = Path.of("");

  static Stream<Sample> samples() throws IOException {
    List<String> lines = new String(TestDisks.sample("MANIFEST.tsv"), UTF_8).lines().toList();
    return lines.stream().filter(line -> !line.startsWith("#")).map(Sample::of);
  }

  /** A flat file of two disks is stored once. */
  private static byte[] bytesOf(String name) throws IOException {
    return switch (name) {
      case "monolithicFlat-flat.vmdk", "twoGbMaxExtentFlat-f001.vmdk" ->
          TestDisks.sample("guest-content.raw");
      default -> TestDisks.sample(name);
    };
  }

  @BeforeAll
  void unpack(@TempDir Path folder) throws IOException {
    this.folder = folder;
    for (Sample sample : samples().toList()) {
      Files.write(folder.resolve(sample.file()), bytesOf(sample.file()));
    }
  }

  private static String digest(String algorithm, byte[] bytes) throws NoSuchAlgorithmException {
    return HexFormat.of().formatHex(MessageDigest.getInstance(algorithm).digest(bytes));
  }

  @ParameterizedTest
  @MethodSource("samples")
  void opensOrIsRefusedAsTheManifestSays(Sample sample) throws Exception {
    Path file = folder.resolve(sample.file());
    byte[] bytes = Files.readAllBytes(file);
    assertThat(bytes).hasSize((int) sample.bytes());
    assertThat(digest("SHA-256", bytes)).isEqualTo(sample.sha256());

    if (!sample.isDisk()) {
      assertThatThrownBy(() -> VmdkDisk.open(file, Access.READ_ONLY))
          .isInstanceOf(IOException.class)
          .hasMessageContaining(sample.outcome().replace("FOLDER", folder.toString()));
      return;
    }
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_ONLY)) {
      byte[] content = TestDisks.contentOf(disk.link());
      assertThat(content).hasSize(Integer.parseInt(sample.guestBytes()));
      assertThat(digest("MD5", content)).isEqualTo(sample.outcome());
      assertThat(disk.warnings()).isEmpty();
    }
  }
}
