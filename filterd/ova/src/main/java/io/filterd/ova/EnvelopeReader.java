package io.filterd.ova;

import java.io.IOException;
import java.io.StringReader;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import javax.xml.stream.XMLInputFactory;
import javax.xml.stream.XMLStreamConstants;
import javax.xml.stream.XMLStreamException;
import javax.xml.stream.XMLStreamReader;
import org.jspecify.annotations.Nullable;

/**
 * Reads an envelope. Takes no DTD, so that there are no entities but XML's own, and nothing that
 * leads outside; size, depth and counts are limited. Namespaces decide, not prefixes, of which
 * every product has its own.
 */
final class EnvelopeReader {
  static final int LIMIT_BYTES = 4 << 20;
  static final int DEPTH_LIMIT = 64;
  static final int ENTRY_LIMIT = 1024;

  private static final int TEXT_LIMIT = 4096;
  private static final String BYTE_ORDER_MARK = "\ufeff";
  private static final Set<String> NAMESPACES =
      Set.of("http://schemas.dmtf.org/ovf/envelope/1", "http://schemas.dmtf.org/ovf/envelope/2");

  /** CIM's numbers for a disk drive and a logical disk. */
  private static final Set<String> DISK_TYPES = Set.of("17", "31");

  private final String place;
  private final XMLStreamReader xml;
  private final Deque<String> open = new ArrayDeque<>();
  private final Map<String, Envelope.FileEntry> files = new LinkedHashMap<>();
  private final Map<String, Envelope.DiskEntry> disks = new LinkedHashMap<>();
  private final List<String> used = new ArrayList<>();
  private String namespace = "";
  private String name = "";
  private int systems;

  /** The text of the element that is open, as far as it is of interest. */
  private final StringBuilder text = new StringBuilder();

  private String resourceType = "";
  private @Nullable String hostResource;

  private EnvelopeReader(String place, XMLStreamReader xml) {
    this.place = place;
    this.xml = xml;
  }

  static Envelope read(Member member) throws IOException {
    byte[] bytes = member.readAll(LIMIT_BYTES, "envelope");
    XMLInputFactory factory = XMLInputFactory.newDefaultFactory();
    factory.setProperty(XMLInputFactory.SUPPORT_DTD, false);
    factory.setProperty(XMLInputFactory.IS_SUPPORTING_EXTERNAL_ENTITIES, false);
    factory.setProperty(XMLInputFactory.IS_NAMESPACE_AWARE, true);
    try {
      XMLStreamReader xml =
          factory.createXMLStreamReader(new StringReader(text(member.place(), bytes)));
      return new EnvelopeReader(member.place(), xml).read();
    } catch (XMLStreamException malformed) {
      throw new PackageException(
          member.place() + " line " + line(malformed), "XML", sentence(malformed), "an envelope");
    }
  }

  /**
   * DSP0243 wants UTF-8 or UTF-16. The parser, given bytes, prints to the standard error stream
   * when they are something else.
   */
  private static String text(String place, byte[] bytes) throws PackageException {
    boolean wide =
        bytes.length >= 2
            && ((bytes[0] == (byte) 0xfe && bytes[1] == (byte) 0xff)
                || (bytes[0] == (byte) 0xff && bytes[1] == (byte) 0xfe));
    try {
      // A decoder of its own, and not a String, which would replace what it can't read.
      String text =
          (wide ? StandardCharsets.UTF_16 : StandardCharsets.UTF_8)
              .newDecoder()
              .decode(ByteBuffer.wrap(bytes))
              .toString();
      return text.startsWith(BYTE_ORDER_MARK) ? text.substring(1) : text;
    } catch (CharacterCodingException other) {
      throw new PackageException(place, "encoding", "another", "UTF-8, or UTF-16 with its mark");
    }
  }

  private static int line(XMLStreamException malformed) {
    return malformed.getLocation() == null ? 1 : malformed.getLocation().getLineNumber();
  }

  /** Without the place, which stands in front of it in the parser's words. */
  private static String sentence(XMLStreamException malformed) {
    String all = String.valueOf(malformed.getMessage());
    int start = all.indexOf("Message: ");
    return start < 0 ? all : all.substring(start + "Message: ".length());
  }

  private Envelope read() throws XMLStreamException, PackageException {
    while (xml.hasNext()) {
      switch (xml.next()) {
        case XMLStreamConstants.DTD -> throw bad("XML", "a DTD", "none");
        case XMLStreamConstants.ENTITY_REFERENCE -> throw bad("XML", "an entity", "none");
        case XMLStreamConstants.START_ELEMENT -> start();
        case XMLStreamConstants.CHARACTERS, XMLStreamConstants.CDATA -> {
          if (text.length() < TEXT_LIMIT) {
            text.append(xml.getText(), 0, Math.min(xml.getTextLength(), TEXT_LIMIT));
          }
        }
        case XMLStreamConstants.END_ELEMENT -> end();
        default -> {}
      }
    }
    if (systems != 1) {
      throw new PackageException(place, "VirtualSystem", systems + " of them", "one VM");
    }
    return new Envelope(place, name, files, disks, used);
  }

  private void start() throws PackageException {
    String element = xml.getLocalName();
    if (open.size() == DEPTH_LIMIT) {
      throw bad("XML", "elements " + (DEPTH_LIMIT + 1) + " deep", "at most " + DEPTH_LIMIT);
    }
    String parent = String.valueOf(open.peek());
    text.setLength(0);
    if (open.isEmpty()) {
      namespace = String.valueOf(xml.getNamespaceURI());
      if (!element.equals("Envelope") || !NAMESPACES.contains(namespace)) {
        throw bad("XML", element + " of " + namespace, "an Envelope of OVF 1 or 2");
      }
    } else if (namespace.equals(xml.getNamespaceURI())) {
      switch (element) {
        case "File" -> {
          if (parent.equals("References")) {
            addFile();
          }
        }
        case "Disk" -> {
          if (parent.equals("DiskSection")) {
            addDisk();
          }
        }
        case "VirtualSystem" -> {
          systems++;
          name = attribute("id") == null ? "" : String.valueOf(attribute("id"));
        }
        case "Item", "StorageItem" -> {
          resourceType = "";
          hostResource = null;
        }
        default -> {}
      }
    }
    open.push(element);
  }

  private void end() throws PackageException {
    String element = open.pop();
    String parent = String.valueOf(open.peek());
    boolean inItem = parent.equals("Item") || parent.equals("StorageItem");
    switch (element) {
      case "Name" -> {
        if (parent.equals("VirtualSystem")) {
          name = text.toString().strip();
        }
      }
      case "ResourceType" -> {
        if (inItem) {
          resourceType = text.toString().strip();
        }
      }
      case "HostResource" -> {
        if (inItem && hostResource == null) {
          hostResource = text.toString().strip();
        }
      }
      case "Item", "StorageItem" -> {
        if (parent.equals("VirtualHardwareSection")
            && DISK_TYPES.contains(resourceType)
            && hostResource != null) {
          use(hostResource);
        }
      }
      default -> {}
    }
    text.setLength(0);
  }

  /** A disk drive of the VM: {@code ovf:/disk/ID}, or without the scheme. */
  private void use(String resource) throws PackageException {
    String path = resource.startsWith("ovf:") ? resource.substring("ovf:".length()) : resource;
    String prefix = "/disk/";
    if (!path.startsWith(prefix)) {
      throw bad("HostResource", resource, "ovf:/disk/ID");
    }
    if (used.size() == ENTRY_LIMIT) {
      throw bad("HostResource", "more", "at most " + ENTRY_LIMIT);
    }
    used.add(path.substring(prefix.length()));
  }

  private void addFile() throws PackageException {
    Envelope.FileEntry file =
        new Envelope.FileEntry(
            xml.getLocation().getLineNumber(),
            required("File", "href"),
            attribute("size"),
            attribute("compression"),
            attribute("chunkSize"));
    add(files, required("File", "id"), file);
  }

  private void addDisk() throws PackageException {
    Envelope.DiskEntry disk =
        new Envelope.DiskEntry(
            xml.getLocation().getLineNumber(),
            required("Disk", "capacity"),
            attribute("capacityAllocationUnits"),
            attribute("fileRef"),
            attribute("format"),
            attribute("parentRef"));
    add(disks, required("Disk", "diskId"), disk);
  }

  private <T> void add(Map<String, T> entries, String id, T entry) throws PackageException {
    if (entries.size() == ENTRY_LIMIT) {
      throw bad("id", "more", "at most " + ENTRY_LIMIT);
    }
    if (entries.put(id, entry) != null) {
      throw bad("id", id + " twice", "once");
    }
  }

  private String required(String element, String attribute) throws PackageException {
    String value = attribute(attribute);
    if (value == null) {
      throw bad(element, "no " + attribute, "one");
    }
    return value;
  }

  /** An attribute of the envelope's namespace; some writers leave out its prefix. */
  private @Nullable String attribute(String attribute) {
    for (int i = 0; i < xml.getAttributeCount(); i++) {
      String space = xml.getAttributeNamespace(i);
      if (xml.getAttributeLocalName(i).equals(attribute)
          && (space == null || space.isEmpty() || space.equals(namespace))) {
        return xml.getAttributeValue(i);
      }
    }
    return null;
  }

  private PackageException bad(String what, String actual, String expected) {
    return new PackageException(
        place + " line " + xml.getLocation().getLineNumber(), what, actual, expected);
  }
}
