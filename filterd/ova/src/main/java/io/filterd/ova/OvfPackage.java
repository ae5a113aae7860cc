package io.filterd.ova;

import io.filterd.block.BlockException;
import io.filterd.vmdk.ContainedDisk;
import io.filterd.vmdk.Descriptor;
import io.filterd.vmdk.DiskCopy;
import io.filterd.vmdk.VmdkDisk;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * A VM's disks in an OVF package (DSP0243, versions 1 and 2): an .ova, or an .ovf with its files in
 * the same folder. For reading: what it says is checked when it is opened, its content by {@link
 * #verify}, and the disks are read where they are. For one thread; holds no file open.
 */
public final class OvfPackage {
  private final String name;
  private final Map<OvfDisk, Optional<Member>> disks;
  private final Map<String, Member> members;
  private final @Nullable Manifest manifest;
  private final Map<Path, String> states = new LinkedHashMap<>();

  private OvfPackage(
      String name,
      Map<OvfDisk, Optional<Member>> disks,
      Map<String, Member> members,
      @Nullable Manifest manifest)
      throws IOException {
    this.name = name;
    this.disks = disks;
    this.members = members;
    this.manifest = manifest;
    for (Member member : members.values()) {
      states.put(member.file(), state(member.file()));
    }
  }

  /**
   * Opens a package.
   *
   * @param file an .ovf, or else it must be an .ova
   * @throws PackageException if it is damaged, unusual in a way that could be meant to harm, or of
   *     a kind that is not read: several VMs, compressed or split files, disks other than VMDKs
   */
  public static OvfPackage open(Path file) throws IOException {
    Source source =
        String.valueOf(file.getFileName()).toLowerCase(Locale.ROOT).endsWith(".ovf")
            ? folder(file)
            : archive(file);
    Envelope envelope = EnvelopeReader.read(source.envelope());
    Map<String, Member> members = new LinkedHashMap<>(source.members());
    members.put(source.envelope().name(), source.envelope());
    Map<OvfDisk, Optional<Member>> disks = new LinkedHashMap<>();
    for (var entry : envelope.vmDisks().entrySet()) {
      Optional<Member> content = Optional.empty();
      if (entry.getValue().isPresent()) {
        Envelope.FileEntry declared = entry.getValue().get();
        Member member = source.member(declared.href());
        checkSize(envelope.place(), declared, member);
        members.put(member.name(), member);
        content = Optional.of(member);
      }
      disks.put(entry.getKey(), content);
    }
    Manifest manifest = null;
    if (source.manifest() != null) {
      manifest = Manifest.read(source.manifest());
      for (String listed : manifest.names()) {
        members.put(listed, source.member(listed));
      }
      manifest.mustList(source.envelope().name());
      for (Optional<Member> content : disks.values()) {
        if (content.isPresent()) {
          manifest.mustList(content.get().name());
        }
      }
    }
    return new OvfPackage(envelope.name(), disks, members, manifest);
  }

  private static void checkSize(String place, Envelope.FileEntry declared, Member member)
      throws PackageException {
    String size = declared.size();
    if (size != null && !size.equals(Long.toString(member.sizeBytes()))) {
      throw new PackageException(
          place + " line " + declared.line(),
          "size",
          size,
          member.sizeBytes() + ", the size of " + member.name());
    }
  }

  /** Where the files of a package are found. */
  private record Source(
      Member envelope,
      @Nullable Member manifest,
      Map<String, Member> members,
      @Nullable Path folder) {
    Member member(String name) throws IOException {
      Member known = members.get(name);
      if (known != null) {
        return known;
      }
      if (folder == null) {
        throw new PackageException(envelope.place(), "package", "no file " + name, "one");
      }
      return inFolder(folder, name);
    }
  }

  private static Source archive(Path file) throws IOException {
    Map<String, Member> members = TarIndex.read(file);
    List<Member> envelopes = withSuffix(members, ".ovf");
    if (envelopes.size() != 1) {
      throw new PackageException(file.toString(), "tar", envelopes.size() + " .ovf files", "one");
    }
    Member envelope = envelopes.getFirst();
    return new Source(envelope, members.get(manifestOf(envelope.name())), members, null);
  }

  private static List<Member> withSuffix(Map<String, Member> members, String suffix) {
    return members.values().stream()
        .filter(member -> member.name().toLowerCase(Locale.ROOT).endsWith(suffix))
        .toList();
  }

  private static String manifestOf(String envelope) {
    return envelope.substring(0, envelope.length() - ".ovf".length()) + ".mf";
  }

  private static Source folder(Path file) throws IOException {
    Path folder = file.toAbsolutePath().getParent();
    if (folder == null) {
      throw new PackageException(file.toString(), "file", "in no folder", "an .ovf");
    }
    Member envelope = inFolder(folder, String.valueOf(file.getFileName()));
    String manifest = manifestOf(envelope.name());
    boolean hasManifest = Files.exists(folder.resolve(manifest), LinkOption.NOFOLLOW_LINKS);
    return new Source(envelope, hasManifest ? inFolder(folder, manifest) : null, Map.of(), folder);
  }

  private static Member inFolder(Path folder, String name) throws IOException {
    if (!Member.isPlainName(name)) {
      throw new PackageException(folder.toString(), "file", name, "a file of the package");
    }
    Path file = folder.resolve(name);
    BasicFileAttributes attributes =
        Files.readAttributes(file, BasicFileAttributes.class, LinkOption.NOFOLLOW_LINKS);
    if (!attributes.isRegularFile()) {
      throw new PackageException(file.toString(), "file", "something else", "a regular file");
    }
    return new Member(name, file, 0, attributes.size());
  }

  /** The VM's name in the package; may be anything, and empty. */
  public String name() {
    return name;
  }

  /** The VM's disks, in the order of its hardware. */
  public List<OvfDisk> disks() {
    return List.copyOf(disks.keySet());
  }

  /** Whether the package has digests of its files. */
  public boolean hasManifest() {
    return manifest != null;
  }

  /** How many bytes {@link #verify} will read. */
  public long verifiedBytes() {
    return listed().stream().mapToLong(Member::sizeBytes).sum();
  }

  private List<Member> listed() {
    List<Member> listed = new ArrayList<>();
    if (manifest != null) {
      for (String each : manifest.names()) {
        Member member = members.get(each);
        if (member != null) {
          listed.add(member);
        }
      }
    }
    return listed;
  }

  /**
   * Reads every file that the manifest lists, and refuses one that is not as it should be.
   *
   * @return false if the listener stopped it
   */
  public boolean verify(DiskCopy.Listener listener) throws IOException {
    Manifest present = manifest;
    if (present == null) {
      return true;
    }
    long total = verifiedBytes();
    long[] done = {0};
    for (Member member : listed()) {
      Manifest.Reading reading =
          bytes -> {
            done[0] += bytes;
            return listener.at(done[0], total);
          };
      if (!present.verify(member, reading)) {
        return false;
      }
    }
    return true;
  }

  /**
   * Opens the content of a disk that has some.
   *
   * @throws PackageException if it is larger than the envelope says, encrypted, or has a parent
   */
  public VmdkDisk open(OvfDisk disk) throws IOException, BlockException {
    Member member =
        disks
            .getOrDefault(disk, Optional.empty())
            .orElseThrow(() -> new IllegalArgumentException(disk.id() + ": has no content"));
    checkUnchanged();
    VmdkDisk opened =
        ContainedDisk.open(member.file(), member.place(), member.offset(), member.sizeBytes());
    boolean fine = false;
    try {
      checkContent(member, disk, opened);
      fine = true;
      return opened;
    } finally {
      if (!fine) {
        opened.close();
      }
    }
  }

  private static void checkContent(Member member, OvfDisk disk, VmdkDisk opened)
      throws PackageException {
    if (opened.encryption().isPresent()) {
      throw new PackageException(
          member.place(), "encryption", "by filterd", "a disk in the clear, as exported");
    }
    if (opened.descriptor().parentCid() != Descriptor.NO_PARENT) {
      throw new PackageException(
          member.place(),
          "parentCID",
          "%08x".formatted(opened.descriptor().parentCid()),
          "ffffffff, a disk without a parent");
    }
    long sizeBytes = opened.link().info().sizeBytes();
    if (sizeBytes > disk.capacityBytes()) {
      throw new PackageException(
          member.place(),
          "capacity",
          sizeBytes + " bytes",
          "at most the " + disk.capacityBytes() + " of the envelope");
    }
  }

  /**
   * Refuses a package that was changed since it was opened, and so perhaps since it was verified.
   */
  public void checkUnchanged() throws IOException {
    for (Map.Entry<Path, String> each : states.entrySet()) {
      if (!state(each.getKey()).equals(each.getValue())) {
        throw new PackageException(
            each.getKey().toString(), "file", "changed while it was read", "the same file");
      }
    }
  }

  private static String state(Path file) throws IOException {
    BasicFileAttributes attributes = Files.readAttributes(file, BasicFileAttributes.class);
    return attributes.fileKey() + " " + attributes.size() + " " + attributes.lastModifiedTime();
  }
}
