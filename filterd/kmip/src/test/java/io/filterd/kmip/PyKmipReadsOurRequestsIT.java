package io.filterd.kmip;

import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.kmip.ttlv.Vectors;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.assertj.core.api.SoftAssertions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * PyKMIP, another implementation of the protocol, reads what we write as what we meant, and writes
 * the same bytes of it. AddAttribute and Check are not among the operations it can read; texts
 * beyond ASCII it cannot decode.
 */
class PyKmipReadsOurRequestsIT {
  /** Debian's python3-pykmip is for Debian's Python only. */
  private static final String PYTHON = "/usr/bin/python3";

  private static final Path SCRIPT =
      Path.of("src/test/scripts/pykmip-requests.py").toAbsolutePath();

  private static final List<KmipVersion> VERSIONS =
      List.of(
          KmipVersion.V1_1, KmipVersion.V1_2, KmipVersion.V1_3, KmipVersion.V1_4, KmipVersion.V2_0);

  /** A request, and words that what PyKMIP read must hold. */
  private record Sent(RequestMessage message, List<String> words) {}

  @TempDir private Path folder = Path.of("");

  @Test
  void readsAndWritesThemTheSame() throws IOException, InterruptedException {
    List<Sent> sent = new ArrayList<>();
    VERSIONS.forEach(version -> sent.addAll(requests(version)));
    StringBuilder input = new StringBuilder();
    for (Sent each : sent) {
      input
          .append(each.message().version().major())
          .append(' ')
          .append(each.message().version().minor())
          .append(' ')
          .append(hex(each))
          .append('\n');
    }

    List<String> lines = run(input.toString());

    assertThat(lines).hasSameSizeAs(sent);
    SoftAssertions all = new SoftAssertions();
    for (int i = 0; i < lines.size(); i++) {
      String read = lines.get(i);
      Sent each = sent.get(i);
      all.assertThat(read).as("%s", each.message()).startsWith(hex(each) + " ");
      for (String word : each.words()) {
        all.assertThat(read).as("%s", each.message()).contains(word);
      }
    }
    all.assertAll();
  }

  private List<String> run(String input) throws IOException, InterruptedException {
    Path in = Files.writeString(folder.resolve("in"), input);
    Path out = folder.resolve("out");
    Path errors = folder.resolve("errors");
    ProcessBuilder builder =
        new ProcessBuilder(PYTHON, "-W", "ignore", SCRIPT.toString())
            .redirectInput(in.toFile())
            .redirectOutput(out.toFile())
            .redirectError(errors.toFile());
    builder.environment().keySet().removeIf(name -> name.startsWith("PYTHON"));
    Process process = builder.start();
    try {
      assertThat(process.waitFor(2, TimeUnit.MINUTES)).as("PyKMIP ends").isTrue();
    } finally {
      process.destroyForcibly();
    }
    assertThat(process.exitValue()).as(Files.readString(errors)).isZero();
    return Files.readAllLines(out);
  }

  private static String hex(Sent sent) {
    return HexFormat.of().formatHex(Vectors.encode(sent.message().toItem()));
  }

  private static List<Sent> requests(KmipVersion version) {
    MemorySegment password = MemorySegment.ofArray("secret".getBytes(StandardCharsets.US_ASCII));
    MemorySegment key = MemorySegment.ofArray(new byte[32]);
    List<Attribute> attributes =
        List.of(
            Attribute.algorithm(CryptographicAlgorithm.AES),
            Attribute.length(256),
            Attribute.usageMask(UsageMask.ENCRYPT | UsageMask.DECRYPT),
            Attribute.name("kek-1"));
    List<Sent> all = new ArrayList<>();
    add(
        all,
        version,
        new KmipRequest.DiscoverVersions(List.of(KmipVersion.V2_0, KmipVersion.V1_4)));
    add(
        all,
        version,
        new KmipRequest.Query(
            EnumSet.of(QueryFunction.OPERATIONS, QueryFunction.SERVER_INFORMATION)),
        "QUERY_OPERATIONS",
        "QUERY_SERVER_INFORMATION");
    add(all, version, new KmipRequest.Create(attributes), "SYMMETRIC_KEY");
    add(
        all,
        version,
        new KmipRequest.Register(attributes, CryptographicAlgorithm.AES, key),
        "SYMMETRIC_KEY");
    add(all, version, new KmipRequest.Activate("id-1"), "id-1");
    add(all, version, new KmipRequest.Get("id-2"), "id-2");
    add(
        all,
        version,
        new KmipRequest.Get("id-3", KeyFormatType.RAW, KeyWrapping.aesKeyWrap("wrapping-key-1")),
        "id-3",
        "wrapping-key-1",
        "NIST_KEY_WRAP",
        "NO_ENCODING");
    add(
        all,
        version,
        new KmipRequest.GetAttributes("id-4", List.of("State", "Name", "Initial Date")),
        "id-4");
    add(all, version, new KmipRequest.GetAttributes("id-5", List.of()), "id-5");
    add(all, version, new KmipRequest.ModifyAttribute("id-6", Attribute.name("other")), "id-6");
    add(
        all,
        version,
        new KmipRequest.Locate(
            7,
            List.of(
                Attribute.name("kek-1"),
                Attribute.state(State.ACTIVE),
                Attribute.objectType(ObjectType.SYMMETRIC_KEY),
                Attribute.objectGroup("group"),
                Attribute.applicationSpecificInformation("filterd", "vm-1"))),
        "maximum_items=7");
    add(
        all,
        version,
        new KmipRequest.Revoke(
            "id-8",
            RevocationReasonCode.KEY_COMPROMISE,
            "lost",
            Instant.ofEpochSecond(1_700_000_000)));
    add(all, version, new KmipRequest.Revoke("id-9", RevocationReasonCode.SUPERSEDED, "", null));
    add(all, version, new KmipRequest.Destroy("id-10"), "id-10");
    all.add(
        new Sent(
            new RequestMessage(
                version,
                65_536,
                new Credential("filterd", password),
                List.of(new KmipRequest.Activate("id-11"), new KmipRequest.Get("id-12"))),
            List.of("id-11", "id-12")));
    return all;
  }

  private static void add(
      List<Sent> all, KmipVersion version, KmipRequest<?> request, String... words) {
    all.add(new Sent(RequestMessage.of(version, request), List.of(words)));
  }
}
