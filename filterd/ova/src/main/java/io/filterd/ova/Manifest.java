package io.filterd.ova;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The digests of a package's files: lines like {@code SHA256(disk.vmdk)= 0a1b...} */
final class Manifest {
  static final int LIMIT_BYTES = 1 << 20;

  private static final int STEP_BYTES = 1 << 20;
  private static final Pattern LINE =
      Pattern.compile("(SHA1|SHA256|SHA512)\\s?\\((.{1,255})\\)\\s?=\\s?([0-9a-fA-F]{40,128})");
  private static final Map<String, String> ALGORITHMS =
      Map.of("SHA1", "SHA-1", "SHA256", "SHA-256", "SHA512", "SHA-512");

  /** A digest in lower-case hexadecimal. */
  private record Digest(String algorithm, String value) {}

  private final String place;
  private final Map<String, Digest> digests;

  private Manifest(String place, Map<String, Digest> digests) {
    this.place = place;
    this.digests = digests;
  }

  /** Told of each piece that was read; answers false to stop. */
  @FunctionalInterface
  interface Reading {
    boolean read(int bytes);
  }

  static Manifest read(Member member) throws IOException {
    String text =
        new String(member.readAll(LIMIT_BYTES, "manifest"), StandardCharsets.UTF_8)
            .replace("\r\n", "\n");
    Map<String, Digest> digests = new LinkedHashMap<>();
    int number = 0;
    for (String line : text.split("\n", -1)) {
      number++;
      if (line.isBlank()) {
        continue;
      }
      String place = member.place() + " line " + number;
      Matcher matcher = LINE.matcher(line.strip());
      if (!matcher.matches()) {
        throw new PackageException(
            place, "manifest", line, "SHA1, SHA256 or SHA512, like SHA256(FILE)= HEX");
      }
      Digest digest = new Digest(matcher.group(1), matcher.group(3).toLowerCase(Locale.ROOT));
      int expectedDigits = 2 * messageDigest(digest.algorithm()).getDigestLength();
      if (digest.value().length() != expectedDigits) {
        throw new PackageException(
            place,
            "digest",
            digest.value().length() + " digits",
            expectedDigits + " for " + digest.algorithm());
      }
      if (digests.put(matcher.group(2), digest) != null) {
        throw new PackageException(place, "manifest", matcher.group(2) + " twice", "once");
      }
    }
    return new Manifest(member.place(), digests);
  }

  /** Refuses a file that the manifest says nothing of. */
  void mustList(String name) throws PackageException {
    if (!digests.containsKey(name)) {
      throw new PackageException(place, "manifest", "nothing about " + name, "its digest");
    }
  }

  /** The files that are listed. */
  Iterable<String> names() {
    return digests.keySet();
  }

  /**
   * Reads a file that is listed, and refuses another content than it should have.
   *
   * @return false if it was stopped
   */
  boolean verify(Member member, Reading reading) throws IOException {
    Digest expected = digests.get(member.name());
    if (expected == null) {
      throw new IllegalArgumentException(member.name() + ": is not listed");
    }
    MessageDigest digest = messageDigest(expected.algorithm());
    ByteBuffer step = ByteBuffer.allocateDirect(STEP_BYTES);
    try (FileChannel channel = FileChannel.open(member.file(), StandardOpenOption.READ)) {
      for (long at = 0; at < member.sizeBytes(); ) {
        step.clear().limit((int) Math.min(STEP_BYTES, member.sizeBytes() - at));
        member.read(channel, at, step);
        int count = step.flip().remaining();
        digest.update(step);
        at += count;
        if (!reading.read(count)) {
          return false;
        }
      }
    }
    String actual = HexFormat.of().formatHex(digest.digest());
    if (!actual.equals(expected.value())) {
      throw new PackageException(
          member.place(),
          expected.algorithm(),
          actual,
          expected.value() + ", as the manifest says");
    }
    return true;
  }

  private static MessageDigest messageDigest(String algorithm) {
    try {
      return MessageDigest.getInstance(ALGORITHMS.get(algorithm));
    } catch (NoSuchAlgorithmException bug) {
      throw new IllegalStateException(bug);
    }
  }
}
