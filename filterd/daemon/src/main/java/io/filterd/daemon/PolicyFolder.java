package io.filterd.daemon;

import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import io.filterd.policy.FilterCatalog;
import io.filterd.policy.PolicyParser;
import io.filterd.policy.PolicyResult;
import io.filterd.policy.StoragePolicy;
import io.filterd.policy.yaml.Problem;
import java.io.IOException;
import java.nio.charset.MalformedInputException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Stream;

/** The folder of storage policies. Read anew each time, so that a changed file counts at once. */
final class PolicyFolder {
  private static final int MAX_FILE_BYTES = 64 << 10;
  private static final int MAX_FILES = 1000;

  private final Path folder;
  private final FilterCatalog catalog;

  /** The policies of a folder. */
  PolicyFolder(Path folder, FilterCatalog catalog) {
    this.folder = folder;
    this.catalog = catalog;
  }

  /** A policy and its file. */
  record Entry(StoragePolicy policy, Path file) {}

  /** Reads one file. */
  static PolicyResult check(Path file, FilterCatalog catalog) throws OperationException {
    try {
      if (Files.size(file) > MAX_FILE_BYTES) {
        throw new OperationException(
            Code.INVALID, file + ": more than " + MAX_FILE_BYTES + " bytes (expected: a policy)");
      }
      return PolicyParser.parse(
          file.toString(), Files.readString(file, StandardCharsets.UTF_8), catalog);
    } catch (MalformedInputException binary) {
      throw new OperationException(Code.INVALID, file + ": is not text in UTF-8", binary);
    } catch (IOException failure) {
      throw new OperationException(
          Code.INVALID, "can't read the policy: " + Failures.sentence(failure), failure);
    }
  }

  /** All policies, by name; one that is wrong, or a name that stands twice, fails all. */
  SortedMap<String, Entry> all() throws OperationException {
    Contents contents = read();
    if (!contents.problems().isEmpty()) {
      throw new OperationException(
          Code.INVALID,
          "the policies have " + contents.problems().size() + " problem(s):",
          contents.problems());
    }
    TreeMap<String, Entry> policies = new TreeMap<>();
    contents.byName().forEach((name, entries) -> policies.put(name, entries.getFirst()));
    return policies;
  }

  /** The policy of this name. A mistake in the file of another does no harm. */
  StoragePolicy get(String name) throws OperationException {
    Contents contents = read();
    List<Entry> entries = contents.byName().getOrDefault(name, List.of());
    if (entries.size() == 1) {
      return entries.getFirst().policy();
    }
    if (entries.size() > 1 || !contents.problems().isEmpty()) {
      throw new OperationException(
          Code.INVALID, "no good policy " + name + " in " + folder + ":", contents.problems());
    }
    throw new OperationException(
        Code.NOT_FOUND,
        "no policy "
            + name
            + " in "
            + folder
            + " (there are: "
            + String.join(", ", contents.byName().keySet())
            + ")");
  }

  /** The good policies, by name, and what is wrong with others. */
  private record Contents(SortedMap<String, List<Entry>> byName, List<String> problems) {}

  private Contents read() throws OperationException {
    TreeMap<String, List<Entry>> byName = new TreeMap<>();
    List<String> problems = new ArrayList<>();
    for (Path file : files()) {
      PolicyResult result = check(file, catalog);
      result.problems().stream().map(Problem::toString).forEach(problems::add);
      result
          .policy()
          .ifPresent(
              policy ->
                  byName
                      .computeIfAbsent(policy.name(), name -> new ArrayList<>())
                      .add(new Entry(policy, file)));
    }
    byName.forEach(
        (name, entries) -> {
          if (entries.size() > 1) {
            problems.add(
                "policy "
                    + name
                    + ": stands in "
                    + entries.stream().map(entry -> entry.file().toString()).toList()
                    + " (expected: in one file)");
          }
        });
    return new Contents(byName, problems);
  }

  private List<Path> files() throws OperationException {
    try (Stream<Path> listed = Files.list(folder)) {
      return listed
          .filter(file -> file.getFileName().toString().endsWith(".yaml"))
          .sorted()
          .limit(MAX_FILES)
          .toList();
    } catch (IOException failure) {
      throw new OperationException(
          Code.INVALID, "can't read the folder of policies, " + folder, failure);
    }
  }
}
