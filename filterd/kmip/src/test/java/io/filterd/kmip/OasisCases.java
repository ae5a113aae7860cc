package io.filterd.kmip;

import io.filterd.kmip.ttlv.Content;
import io.filterd.kmip.ttlv.Item;
import io.filterd.kmip.ttlv.ItemType;
import io.filterd.kmip.ttlv.Scalar;
import io.filterd.kmip.ttlv.Structure;
import io.filterd.kmip.ttlv.Tag;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.regex.Pattern;
import java.util.zip.GZIPInputStream;
import javax.xml.parsers.DocumentBuilder;
import javax.xml.parsers.DocumentBuilderFactory;
import javax.xml.parsers.ParserConfigurationException;
import org.jspecify.annotations.Nullable;
import org.w3c.dom.Element;
import org.w3c.dom.Node;
import org.xml.sax.SAXException;

/**
 * OASIS's test cases for KMIP 1.0 to 1.4, which are XML: its names and words made tags and numbers
 * (KMIP Additional Message Encodings 1.0, section 2). Variables stay as they are, but for $NOW.
 */
final class OasisCases {
  /** What $NOW stands for, in seconds since 1970. */
  private static final long NOW = 1_257_986_850;

  private static final Pattern NO_LETTER = Pattern.compile("[^A-Za-z0-9]");

  private static final int TAR_BLOCK_BYTES = 512;

  private final Map<String, Tag> tags = new HashMap<>();
  private final Map<String, Map<String, Integer>> enums = new HashMap<>();
  private final Map<String, Map<String, Integer>> masks = new HashMap<>();

  /** One message of a case. */
  record Message(String id, Structure item) {
    boolean isRequest() {
      return item.is(Tag.REQUEST_MESSAGE);
    }

    @Override
    public String toString() {
      return id;
    }
  }

  private OasisCases() throws IOException {
    for (Tag tag : Tag.values()) {
      tags.put(plain(tag.name()), tag);
    }
    for (String line :
        new String(resource("kmip-1.4-names.txt"), StandardCharsets.UTF_8).lines().toList()) {
      String[] parts = line.split(" ", -1);
      (parts[0].equals("enum") ? enums : masks)
          .computeIfAbsent(parts[1], name -> new HashMap<>())
          .put(parts[2], Integer.decode(parts[3]));
    }
  }

  /** All messages of all 410 files, in their order. */
  static List<Message> all() throws IOException, SAXException, ParserConfigurationException {
    OasisCases cases = new OasisCases();
    DocumentBuilder parser = DocumentBuilderFactory.newInstance().newDocumentBuilder();
    List<Message> all = new ArrayList<>();
    for (Map.Entry<String, byte[]> file : files().entrySet()) {
      Element root = parser.parse(new ByteArrayInputStream(file.getValue())).getDocumentElement();
      int number = 0;
      for (Element message : elements(root)) {
        if (message.getTagName().endsWith("Message")) {
          all.add(
              new Message(file.getKey() + "#" + ++number, (Structure) cases.item(message, null)));
        }
      }
    }
    return all;
  }

  /** A tar's files: names of up to 100 characters, or GNU's long ones. */
  private static Map<String, byte[]> files() throws IOException {
    Map<String, byte[]> files = new LinkedHashMap<>();
    byte[] tar;
    try (InputStream in =
        new GZIPInputStream(new ByteArrayInputStream(resource("kmip-cases.tar.gz")))) {
      tar = in.readAllBytes();
    }
    String longName = "";
    for (int at = 0; tar[at] != 0; ) {
      int size = Integer.parseInt(text(tar, at + 124, 11), 8);
      int content = at + TAR_BLOCK_BYTES;
      if (tar[at + 156] == 'L') {
        longName = text(tar, content, size);
      } else {
        String name = longName.isEmpty() ? text(tar, at, 100) : longName;
        files.put(name, Arrays.copyOfRange(tar, content, content + size));
        longName = "";
      }
      at = content + (size + TAR_BLOCK_BYTES - 1) / TAR_BLOCK_BYTES * TAR_BLOCK_BYTES;
    }
    return files;
  }

  private static String text(byte[] bytes, int at, int most) {
    int length = 0;
    while (length < most && bytes[at + length] != 0) {
      length++;
    }
    return new String(bytes, at, length, StandardCharsets.UTF_8).strip();
  }

  private static byte[] resource(String name) throws IOException {
    try (InputStream in = OasisCases.class.getResourceAsStream("/vectors/oasis/" + name)) {
      return Objects.requireNonNull(in).readAllBytes();
    }
  }

  private static List<Element> elements(Element parent) {
    List<Element> all = new ArrayList<>();
    for (Node node = parent.getFirstChild(); node != null; node = node.getNextSibling()) {
      if (node instanceof Element element) {
        all.add(element);
      }
    }
    return all;
  }

  private static String plain(String name) {
    return NO_LETTER.matcher(name).replaceAll("").toLowerCase(Locale.ROOT);
  }

  /** An element as an item; of an AttributeValue the attribute's name is known. */
  private Item item(Element element, @Nullable String attribute) {
    String name = element.getTagName();
    int tag =
        name.equals("TTLV")
            ? Integer.decode(element.getAttribute("tag"))
            : Objects.requireNonNull(tags.get(plain(name)), name).code();
    String type = element.getAttribute("type");
    String value = element.getAttribute("value");
    String meaning = plain(attribute == null ? name : attribute);
    return switch (type) {
      case "", "Structure" -> {
        List<Item> items = new ArrayList<>();
        String named = null;
        for (Element inner : elements(element)) {
          items.add(item(inner, inner.getTagName().equals("AttributeValue") ? named : null));
          named = inner.getTagName().equals("AttributeName") ? inner.getAttribute("value") : named;
        }
        yield new Structure(tag, items);
      }
      case "Enumeration" ->
          new Scalar(
              tag, ItemType.ENUMERATION, Integer.toUnsignedLong(enumeration(meaning, value)));
      case "Integer" -> new Scalar(tag, ItemType.INTEGER, integer(meaning, value));
      case "LongInteger" -> new Scalar(tag, ItemType.LONG_INTEGER, Long.decode(value));
      case "Interval" -> new Scalar(tag, ItemType.INTERVAL, Long.decode(value));
      case "Boolean" -> new Scalar(tag, ItemType.BOOLEAN, Boolean.parseBoolean(value) ? 1 : 0);
      case "DateTime" -> new Scalar(tag, ItemType.DATE_TIME, date(value));
      case "TextString" -> content(tag, ItemType.TEXT_STRING, utf8(value));
      case "ByteString" ->
          content(
              tag,
              ItemType.BYTE_STRING,
              value.startsWith("$") ? utf8(value) : HexFormat.of().parseHex(value));
      case "BigInteger" ->
          content(tag, ItemType.BIG_INTEGER, HexFormat.of().parseHex(value.replace("0x", "")));
      default -> throw new IllegalArgumentException(type);
    };
  }

  private static Content content(int tag, ItemType type, byte[] bytes) {
    return new Content(tag, type, MemorySegment.ofArray(bytes));
  }

  private static byte[] utf8(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  private int enumeration(String meaning, String value) {
    if (value.startsWith("0x")) {
      return Integer.parseUnsignedInt(value.substring(2), 16);
    }
    String word = plain(value).equals("des3") ? "3des" : plain(value);
    Map<String, Integer> table = enums.get(meaning);
    if (table == null) {
      // The name of a field that is not its enumeration's: the only one that has the word.
      List<Map<String, Integer>> candidates =
          enums.values().stream().filter(each -> each.containsKey(word)).toList();
      if (candidates.size() != 1) {
        throw new IllegalArgumentException(meaning + " " + value);
      }
      table = candidates.getFirst();
    }
    return Objects.requireNonNull(table.get(word), () -> meaning + " " + value);
  }

  private int integer(String meaning, String value) {
    if (value.matches("-?[0-9]+|0x[0-9A-Fa-f]+")) {
      return Integer.decode(value);
    }
    Map<String, Integer> table =
        masks.getOrDefault(meaning, masks.getOrDefault("cryptographicusagemask", Map.of()));
    int mask = 0;
    for (String word : value.strip().split("[\\s|]+", -1)) {
      mask |= Objects.requireNonNull(table.get(plain(word)), () -> meaning + " " + value);
    }
    return mask;
  }

  private static long date(String value) {
    if (value.startsWith("$NOW")) {
      String offset = value.substring(4);
      return NOW + (offset.isEmpty() ? 0 : Long.parseLong(offset));
    }
    return value.startsWith("0x")
        ? Long.decode(value)
        : OffsetDateTime.parse(value).toEpochSecond();
  }
}
