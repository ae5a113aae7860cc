package io.filterd.kmip.ttlv;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Objects;

/** The messages under src/test/resources/vectors; its README says where they are from. */
public final class Vectors {
  /** A message that went over a wire. */
  public record Captured(
      String id, String kind, String version, List<String> operations, String hex) {
    /** The message. */
    public byte[] bytes() {
      return HexFormat.of().parseHex(hex);
    }

    /** Whether a client sent it. */
    public boolean isRequest() {
      return kind.equals("request");
    }

    @Override
    public String toString() {
      return id + " " + kind + " " + version + " " + operations;
    }
  }

  /** Bytes, and what a reader must say of them. */
  record Malformed(String name, String expect, String hex) {
    byte[] bytes() {
      return HexFormat.of().parseHex(hex);
    }

    @Override
    public String toString() {
      return name;
    }
  }

  private Vectors() {}

  /** All 311, in the order in which they were sent. */
  public static List<Captured> captured() {
    List<Captured> all = new ArrayList<>();
    for (JsonNode node : read("/vectors/pykmip-0.10-capture.json")) {
      List<String> operations = new ArrayList<>();
      node.get("operations").forEach(operation -> operations.add(operation.asText()));
      all.add(
          new Captured(
              node.get("id").asText(),
              node.get("kind").asText(),
              node.get("kmip_version").asText(),
              operations,
              node.get("hex").asText()));
    }
    return all;
  }

  static List<Malformed> malformed() {
    List<Malformed> all = new ArrayList<>();
    for (JsonNode node : read("/vectors/malformed.json")) {
      all.add(
          new Malformed(
              node.get("name").asText(), node.get("expect").asText(), node.get("hex").asText()));
    }
    return all;
  }

  /** The item as bytes on the heap, for comparing. */
  public static byte[] encode(Item item) {
    ByteBuffer buffer = ByteBuffer.allocate(item.encodedBytes());
    TtlvWriter.write(item, buffer);
    byte[] bytes = new byte[buffer.position()];
    buffer.flip().get(bytes);
    return bytes;
  }

  private static JsonNode read(String resource) {
    try (InputStream in = Objects.requireNonNull(Vectors.class.getResourceAsStream(resource))) {
      return new ObjectMapper().readTree(in);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
