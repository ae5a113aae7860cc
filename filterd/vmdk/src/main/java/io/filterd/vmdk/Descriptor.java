package io.filterd.vmdk;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.Charset;
import java.nio.charset.IllegalCharsetNameException;
import java.nio.charset.UnsupportedCharsetException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;

/**
 * The text that describes a disk (Virtual Disk Format 5.0, "The Descriptor File"): its header, its
 * extents, and the disk database ("DDB"). Immutable. Lines that mean nothing here are kept, byte
 * for byte, and so are the endings and the order of all lines.
 *
 * <p>Lines are held one char per byte, so that no encoding can damage them; a value is decoded when
 * it is asked for. All encodings taken leave the ASCII characters of the grammar where they are.
 */
public final class Descriptor {
  /** The longest text that is read, in bytes. */
  public static final int LARGEST_TEXT_BYTES = 1 << 20;

  /** The content id of no disk: what stands for the parent where there is none. */
  public static final long NO_PARENT = 0xffff_ffffL;

  /** The longest line that is read: a list of wrapped keys fits. */
  static final int LONGEST_LINE_BYTES = 1 << 16;

  static final int LINE_COUNT_LIMIT = 16_384;

  /** The most extents: each is a file to open. 2 TiB in the smallest usual pieces are 1025. */
  static final int EXTENT_COUNT_LIMIT = 4096;

  private static final String DDB_PREFIX = "ddb.";
  private static final Pattern DDB_KEY = Pattern.compile("[A-Za-z0-9._-]{1,128}");
  private static final Pattern HEX_32_BITS = Pattern.compile("[0-9a-fA-F]{1,8}");
  private static final Pattern EXTENT_SECTORS = Pattern.compile("^(\\s*\\S+\\s+)[0-9]+");
  private static final Pattern DECIMAL = Pattern.compile("[0-9]{1,19}");
  private static final Pattern ENCODING =
      Pattern.compile(
          "(?i)utf-8|us-ascii|iso-8859-[0-9]{1,2}|windows-(?:125[0-9]|31j|874|949|950)"
              + "|gbk|gb2312|gb18030|big5|shift_jis|euc-(?:jp|kr)");

  /** Header keys that must not stand twice: readers disagree on which one counts. */
  private static final Set<String> SINGLE_KEYS =
      Set.of("version", "cid", "parentcid", "createtype", "parentfilenamehint", "encoding");

  /** A line, its ending ({@code ""} at most for the last), and what it says if it is an entry. */
  private record Line(String text, String ending, long byteOffset, String key, String value) {
    /** A line without a key: a comment, a blank, an extent, or what nobody knows. */
    private static final String NO_KEY = "";

    static Line of(String text, String ending, long byteOffset) {
      String content = text.strip();
      int equals = content.indexOf('=');
      if (content.startsWith("#") || equals <= 0 || isExtent(content)) {
        return new Line(text, ending, byteOffset, NO_KEY, "");
      }
      return new Line(
          text,
          ending,
          byteOffset,
          content.substring(0, equals).strip().toLowerCase(Locale.ROOT),
          content.substring(equals + 1).strip());
    }

    static boolean isExtent(String content) {
      for (ExtentLine.Access access : ExtentLine.Access.values()) {
        String word = access.name();
        if (content.regionMatches(true, 0, word, 0, word.length())
            && content.length() > word.length()
            && Character.isWhitespace(content.charAt(word.length()))) {
          return true;
        }
      }
      return false;
    }
  }

  private final String file;
  private final List<Line> lines;
  private final Charset charset;
  private final Map<String, Line> entries;
  private final int version;
  private final long cid;
  private final long parentCid;
  private final String createType;
  private final List<ExtentLine> extents;
  private final long sizeBytes;

  private Descriptor(String file, List<Line> lines) throws FormatException {
    this.file = file;
    this.lines = List.copyOf(lines);
    this.entries = new HashMap<>();
    for (Line line : lines) {
      if (!line.key().equals(Line.NO_KEY)) {
        Line first = entries.putIfAbsent(line.key(), line);
        if (first != null && mustStandOnce(line.key())) {
          throw bad(line, line.key(), "stands twice", "once");
        }
      }
    }
    this.charset = charset();
    this.version = (int) decimal("version", 1, 99);
    this.cid = contentId("cid");
    this.parentCid = entries.containsKey("parentcid") ? contentId("parentcid") : NO_PARENT;
    this.createType = required("createtype");
    this.extents = new ArrayList<>();
    long sectors = 0;
    for (Line line : lines) {
      String content = line.text().strip();
      if (Line.isExtent(content)) {
        if (extents.size() == EXTENT_COUNT_LIMIT) {
          throw bad(line, "extents", "more", "at most " + EXTENT_COUNT_LIMIT);
        }
        ExtentLine extent = extent(line, content);
        sectors += extent.sectors();
        if (sectors >= SparseExtentHeader.CAPACITY_LIMIT_SECTORS) {
          throw bad(
              line,
              "extents",
              sectors + " sectors in all",
              "< " + SparseExtentHeader.CAPACITY_LIMIT_SECTORS);
        }
        extents.add(extent);
      }
    }
    if (extents.isEmpty()) {
      throw missing("extents", "at least one line like RW 2048 SPARSE \"disk.vmdk\"");
    }
    this.sizeBytes = sectors * SparseExtentHeader.SECTOR_BYTES;
  }

  /**
   * Reads a descriptor. Its text ends at the first NUL, if there is one.
   *
   * @param file the file the text is from, for messages
   * @param byteOffset where in the file the text starts
   */
  public static Descriptor parse(String file, long byteOffset, byte[] bytes)
      throws FormatException {
    if (bytes.length > LARGEST_TEXT_BYTES) {
      throw new FormatException(
          file,
          byteOffset,
          "descriptor",
          bytes.length + " bytes",
          "at most " + LARGEST_TEXT_BYTES + " bytes");
    }
    String text = new String(bytes, ISO_8859_1);
    int end = text.indexOf('\0');
    return new Descriptor(file, split(file, byteOffset, end < 0 ? text : text.substring(0, end)));
  }

  /** The bytes of the text, which parse to an equal descriptor. */
  public byte[] format() {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    for (Line line : lines) {
      out.writeBytes(line.text().getBytes(ISO_8859_1));
      out.writeBytes(line.ending().getBytes(ISO_8859_1));
    }
    return out.toByteArray();
  }

  /** The file this was read from, for messages. */
  public String file() {
    return file;
  }

  /** The version of the text's own format. */
  public int version() {
    return version;
  }

  /** The content id, 32 bits: changed by the first write after each opening. */
  public long cid() {
    return cid;
  }

  /** The content id that the parent must have; {@link #NO_PARENT} if there is none. */
  public long parentCid() {
    return parentCid;
  }

  /** How the disk is laid out in files, in VMware's words: {@code monolithicSparse}. */
  public String createType() {
    return createType;
  }

  /** The extents, in the order in which they make up the disk. */
  public List<ExtentLine> extents() {
    return List.copyOf(extents);
  }

  /** The size of the disk: the sum of its extents. */
  public long sizeBytes() {
    return sizeBytes;
  }

  /** The value of a header key such as {@code parentFileNameHint}, of whichever case. */
  public Optional<String> header(String key) throws FormatException {
    return value(key.toLowerCase(Locale.ROOT));
  }

  /** Where the entry of a header key stands in the file; the text's start if it doesn't. */
  long headerByteOffset(String key) {
    Line line = entries.get(key.toLowerCase(Locale.ROOT));
    return line == null ? byteOffset() : line.byteOffset();
  }

  /** The value of the disk database's entry {@code ddb.<key>}, of whichever case. */
  public Optional<String> ddb(String key) throws FormatException {
    return value(ddbKey(key));
  }

  /** The keys of the disk database that start with {@code prefix}, without {@code ddb.}. */
  List<String> ddbKeys(String prefix) {
    String start = ddbKey(prefix);
    return lines.stream()
        .map(Line::key)
        .filter(key -> key.startsWith(start))
        .map(key -> key.substring(DDB_PREFIX.length()))
        .distinct()
        .toList();
  }

  /** Where the entry {@code ddb.<key>} stands in the file; the text's start if it doesn't. */
  long ddbByteOffset(String key) {
    Line line = entries.get(ddbKey(key));
    return line == null ? byteOffset() : line.byteOffset();
  }

  /** Whether the disk database has an entry {@code ddb.<key>}. */
  boolean has(String key) {
    return entries.containsKey(ddbKey(key));
  }

  /** Where the text starts, in bytes from the start of its file. */
  long byteOffset() {
    return lines.getFirst().byteOffset();
  }

  /** The same text at another place of its file. */
  Descriptor at(long byteOffset) {
    return rebuilt(lines, byteOffset);
  }

  /** Where the line of the content id stands, and its digits, for a change in place. */
  long cidDigitsByteOffset() {
    Line line = cidLine();
    return line.byteOffset() + line.text().indexOf('=') + 1 + cidGap(line);
  }

  /** The number of digits that the content id is written with. */
  int cidDigits() {
    return cidLine().value().length();
  }

  /** This descriptor with {@code ddb.<key>} set: in its place if it stands, else at the end. */
  public Descriptor withDdb(String key, String value) {
    if (!DDB_KEY.matcher(key).matches()) {
      throw new IllegalArgumentException("key: " + key + " (expected: " + DDB_KEY + ")");
    }
    if (value.chars().anyMatch(c -> c == '"' || Character.isISOControl(c))) {
      throw new IllegalArgumentException(
          "ddb." + key + ": " + value.length() + " characters (expected: none a quote or control)");
    }
    if (!charset.newEncoder().canEncode(value)) {
      throw new IllegalArgumentException(
          "ddb." + key + ": not of the encoding of the descriptor, " + charset);
    }
    String encoded = new String(value.getBytes(charset), ISO_8859_1);
    return withEntry(ddbKey(key), DDB_PREFIX + key + " = \"" + encoded + "\"");
  }

  /** This descriptor without {@code ddb.<key>}. */
  public Descriptor withoutDdb(String key) {
    return rebuiltWithout(ddbKey(key));
  }

  /** This descriptor with another content id. */
  public Descriptor withCid(long newCid) {
    if (newCid < 0 || newCid > 0xffff_ffffL) {
      throw new IllegalArgumentException("cid: " + newCid + " (expected: 32 bits)");
    }
    return withEntry("cid", "CID=%08x".formatted(newCid));
  }

  /** This descriptor of a link with another parent. */
  Descriptor withParent(long parentContentId, String fileNameHint) {
    if (fileNameHint.chars().anyMatch(c -> c == '"' || Character.isISOControl(c))
        || !charset.newEncoder().canEncode(fileNameHint)) {
      throw new IllegalArgumentException(
          "parentFileNameHint: " + fileNameHint + " (expected: no quotes, and of " + charset + ")");
    }
    String encoded = new String(fileNameHint.getBytes(charset), ISO_8859_1);
    return withEntry("parentcid", "parentCID=%08x".formatted(parentContentId))
        .withEntry("parentfilenamehint", "parentFileNameHint=\"" + encoded + "\"");
  }

  /** This descriptor of a link that has no parent any more. */
  Descriptor withoutParent() {
    return withEntry("parentcid", "parentCID=%08x".formatted(NO_PARENT))
        .rebuiltWithout("parentfilenamehint");
  }

  /**
   * This descriptor without VMware's tracking of changed blocks, whose file would be out of date:
   * what VMware asks of software that changes a disk and does not keep that file (VDDK programming
   * guide, "VMDK File Versions"). The file itself stays.
   */
  Descriptor withoutChangeTracking() {
    if (!entries.containsKey("changetrackpath")) {
      return this;
    }
    Descriptor changed = version == 3 ? withEntry("version", "version=1") : this;
    List<Line> kept =
        changed.lines.stream()
            .filter(line -> !line.key().equals("changetrackpath"))
            .filter(line -> !line.text().strip().equalsIgnoreCase("# Change Tracking File"))
            .toList();
    return rebuilt(kept);
  }

  private Descriptor rebuiltWithout(String key) {
    return rebuilt(lines.stream().filter(line -> !line.key().equals(key)).toList());
  }

  /** This descriptor with another size of its only extent, in sectors. */
  Descriptor withExtentSectors(long sectors) {
    List<Line> changed = new ArrayList<>(lines);
    changed.replaceAll(
        line ->
            Line.isExtent(line.text().strip())
                ? Line.of(
                    EXTENT_SECTORS.matcher(line.text()).replaceFirst("$1" + sectors),
                    line.ending(),
                    line.byteOffset())
                : line);
    return rebuilt(changed);
  }

  /** This descriptor with the digits of the content id replaced by as many others. */
  Descriptor withCidDigits(String digits) {
    Line line = cidLine();
    int at = (int) (cidDigitsByteOffset() - line.byteOffset());
    String text = line.text();
    return withEntry("cid", text.substring(0, at) + digits + text.substring(at + digits.length()));
  }

  /** Whether the other describes the same files in the same way, whatever else it says. */
  boolean describesSameExtents(Descriptor other) {
    return createType.equals(other.createType)
        && extents.stream()
            .map(Descriptor::withoutPlace)
            .toList()
            .equals(other.extents.stream().map(Descriptor::withoutPlace).toList());
  }

  private static ExtentLine withoutPlace(ExtentLine line) {
    return new ExtentLine(
        line.access(), line.sectors(), line.type(), line.fileName(), line.offsetSectors(), 0);
  }

  /** An error at the entry {@code ddb.<key>} of this descriptor. */
  FormatException badDdb(String key, String actual, String expected) {
    return new FormatException(file, ddbByteOffset(key), DDB_PREFIX + key, actual, expected);
  }

  /** An error at the entry of a header key of this descriptor. */
  FormatException badHeader(String key, String actual, String expected) {
    return new FormatException(file, headerByteOffset(key), key, actual, expected);
  }

  @Override
  public String toString() {
    return "Descriptor[" + file + ", " + createType + ", " + sizeBytes + " bytes]";
  }

  private static String ddbKey(String key) {
    return DDB_PREFIX + key.toLowerCase(Locale.ROOT);
  }

  private static boolean mustStandOnce(String key) {
    return SINGLE_KEYS.contains(key) || key.startsWith("ddb.filterd.");
  }

  private static List<Line> split(String file, long byteOffset, String text)
      throws FormatException {
    List<Line> lines = new ArrayList<>();
    int at = 0;
    while (at < text.length()) {
      int newline = text.indexOf('\n', at);
      int next = newline < 0 ? text.length() : newline + 1;
      int end = newline < 0 ? text.length() : newline;
      if (end > at && text.charAt(end - 1) == '\r') {
        end--;
      }
      if (end - at > LONGEST_LINE_BYTES) {
        throw new FormatException(
            file,
            byteOffset + at,
            "line",
            (end - at) + " bytes",
            "at most " + LONGEST_LINE_BYTES + " bytes");
      }
      if (lines.size() == LINE_COUNT_LIMIT) {
        throw new FormatException(
            file, byteOffset + at, "lines", "more", "at most " + LINE_COUNT_LIMIT);
      }
      lines.add(Line.of(text.substring(at, end), text.substring(end, next), byteOffset + at));
      at = next;
    }
    return lines;
  }

  private Descriptor withEntry(String key, String text) {
    List<Line> changed = new ArrayList<>(lines);
    for (int i = 0; i < changed.size(); i++) {
      Line line = changed.get(i);
      if (line.key().equals(key)) {
        changed.set(i, Line.of(text, line.ending(), line.byteOffset()));
        return rebuilt(changed);
      }
    }
    if (!changed.isEmpty() && changed.getLast().ending().isEmpty()) {
      Line last = changed.removeLast();
      changed.add(Line.of(last.text(), "\n", last.byteOffset()));
    }
    changed.add(Line.of(text, changed.isEmpty() ? "\n" : changed.getLast().ending(), 0));
    return rebuilt(changed);
  }

  /** A descriptor of these lines, which are known to be right, with their places made true. */
  private Descriptor rebuilt(List<Line> changed) {
    return rebuilt(changed, byteOffset());
  }

  private Descriptor rebuilt(List<Line> changed, long byteOffset) {
    List<Line> placed = new ArrayList<>(changed.size());
    long at = byteOffset;
    for (Line line : changed) {
      placed.add(new Line(line.text(), line.ending(), at, line.key(), line.value()));
      at += line.text().length() + line.ending().length();
    }
    try {
      return new Descriptor(file, placed);
    } catch (FormatException e) {
      throw new IllegalArgumentException("the change breaks the descriptor", e);
    }
  }

  private Optional<String> value(String key) throws FormatException {
    Line line = entries.get(key);
    return line == null ? Optional.empty() : Optional.of(decoded(line, key, unquoted(line, key)));
  }

  private String required(String key) throws FormatException {
    Line line = entries.get(key);
    if (line == null) {
      throw missing(key, "a line " + key + "=...");
    }
    return unquoted(line, key);
  }

  private FormatException missing(String field, String expected) {
    return new FormatException(file, lines.isEmpty() ? 0 : byteOffset(), field, "none", expected);
  }

  private FormatException bad(Line line, String field, String actual, String expected) {
    return new FormatException(file, line.byteOffset(), field, actual, expected);
  }

  private String unquoted(Line line, String key) throws FormatException {
    String value = line.value();
    boolean opens = value.startsWith("\"");
    if (opens != (value.endsWith("\"") && (value.length() > 1 || !opens))) {
      throw bad(line, key, value, "a quote at both ends or at none");
    }
    return opens ? value.substring(1, value.length() - 1) : value;
  }

  private String decoded(Line line, String field, String bytes) throws FormatException {
    try {
      return charset.newDecoder().decode(ByteBuffer.wrap(bytes.getBytes(ISO_8859_1))).toString();
    } catch (CharacterCodingException e) {
      throw bad(line, field, "bytes that are not " + charset, "text in the declared encoding");
    }
  }

  private Charset charset() throws FormatException {
    Line line = entries.get("encoding");
    if (line == null) {
      line = entries.get("ddb.encoding");
    }
    if (line == null) {
      return UTF_8;
    }
    String name = unquoted(line, "encoding");
    // Only encodings that keep ASCII in its place; this also keeps UTF-16 out.
    if (!ENCODING.matcher(name).matches()) {
      throw bad(line, "encoding", name, "a known encoding, for example UTF-8");
    }
    try {
      // What VMware calls Shift_JIS is Microsoft's variant of it.
      return Charset.forName(name.equalsIgnoreCase("shift_jis") ? "windows-31j" : name);
    } catch (IllegalCharsetNameException | UnsupportedCharsetException e) {
      throw bad(line, "encoding", name, "an encoding that this Java knows");
    }
  }

  private long decimal(String key, long minimum, long maximum) throws FormatException {
    String digits = required(key);
    if (DECIMAL.matcher(digits).matches() && digits.length() < 19) {
      long value = Long.parseLong(digits);
      if (value >= minimum && value <= maximum) {
        return value;
      }
    }
    throw bad(line(key), key, digits, minimum + ".." + maximum);
  }

  private long contentId(String key) throws FormatException {
    String digits = required(key);
    if (!HEX_32_BITS.matcher(digits).matches()) {
      throw bad(line(key), key, digits, "1 to 8 hexadecimal digits");
    }
    return Long.parseLong(digits, 16);
  }

  /** The line of a key that is known to stand. */
  private Line line(String key) {
    Line line = entries.get(key);
    if (line == null) {
      throw new IllegalStateException(key);
    }
    return line;
  }

  private Line cidLine() {
    return line("cid");
  }

  /** The blanks between the equals sign and the digits. */
  private static int cidGap(Line line) {
    String rest = line.text().substring(line.text().indexOf('=') + 1);
    return rest.length() - rest.stripLeading().length();
  }

  /** Reads {@code access sectors type ["file" [offset ...]]}. */
  private ExtentLine extent(Line line, String content) throws FormatException {
    int quote = content.indexOf('"');
    int lastQuote = content.lastIndexOf('"');
    if (quote >= 0 && quote == lastQuote) {
      throw bad(line, "extent", content, "the file name between two quotes");
    }
    // A file name may hold quotes itself, so it ends at the last one.
    String[] words = (quote < 0 ? content : content.substring(0, quote)).strip().split("\\s+", 5);
    String[] rest =
        quote < 0 ? new String[0] : content.substring(lastQuote + 1).strip().split("\\s+", 2);
    if (words.length != 3) {
      throw bad(line, "extent", content, "access, sectors, type, and a file name in quotes");
    }
    if (!DECIMAL.matcher(words[1]).matches() || words[1].length() == 19) {
      throw bad(line, "extent sectors", words[1], "a number >= 1");
    }
    long sectors = Long.parseLong(words[1]);
    if (sectors < 1 || sectors >= SparseExtentHeader.CAPACITY_LIMIT_SECTORS) {
      throw bad(
          line,
          "extent sectors",
          words[1],
          "1.." + (SparseExtentHeader.CAPACITY_LIMIT_SECTORS - 1));
    }
    ExtentLine.Type type = type(line, words[2]);
    boolean hasFile = type != ExtentLine.Type.ZERO;
    if (hasFile != (quote >= 0)) {
      throw bad(line, "extent", content, hasFile ? "a file name in quotes" : "no file name");
    }
    long offset = 0;
    if (rest.length > 0 && !rest[0].isEmpty()) {
      if (!DECIMAL.matcher(rest[0]).matches() || rest[0].length() == 19) {
        throw bad(line, "extent offset", rest[0], "a number of sectors");
      }
      offset = Long.parseLong(rest[0]);
      if (offset >= SparseExtentHeader.CAPACITY_LIMIT_SECTORS) {
        throw bad(
            line,
            "extent offset",
            rest[0],
            "< " + SparseExtentHeader.CAPACITY_LIMIT_SECTORS + " sectors");
      }
    } else if (type == ExtentLine.Type.FLAT) {
      throw bad(line, "extent offset", "none", "a number of sectors");
    }
    if (offset != 0 && type != ExtentLine.Type.FLAT) {
      throw bad(line, "extent offset", Long.toString(offset), "none, as the extent is not FLAT");
    }
    return new ExtentLine(
        access(words[0]),
        sectors,
        type,
        hasFile
            ? Optional.of(decoded(line, "extent file", content.substring(quote + 1, lastQuote)))
            : Optional.empty(),
        offset,
        line.byteOffset());
  }

  private static ExtentLine.Access access(String word) {
    return ExtentLine.Access.valueOf(word.toUpperCase(Locale.ROOT));
  }

  private ExtentLine.Type type(Line line, String word) throws FormatException {
    for (ExtentLine.Type type : ExtentLine.Type.values()) {
      if (type.name().equals(word)) {
        return type;
      }
    }
    throw bad(line, "extent type", word, "one of " + List.of(ExtentLine.Type.values()));
  }
}
