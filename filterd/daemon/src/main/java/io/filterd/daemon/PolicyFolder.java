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
          Code.INVALID, "can't read the policy: " + failure.getMessage(), failure);
    }
  }

  /** All policies, by name; one that is wrong, or a name that stands twice, fails all. */
  SortedMap<String, Entry> all() throws OperationException {
    List<Path> files;
    try (Stream<Path> listed = Files.list(folder)) {
      files =
          listed
              .filter(file -> file.getFileName().toString().endsWith(".yaml"))
              .sorted()
              .limit(MAX_FILES)
              .toList();
    } catch (IOException failure) {
      throw new OperationException(
          Code.INVALID, "can't read the folder of policies, " + folder, failure);
    }
    TreeMap<String, Entry> policies = new TreeMap<>();
    for (Path file : files) {
      PolicyResult result = check(file, catalog);
      StoragePolicy policy =
          result
              .policy()
              .orElseThrow(
                  () ->
                      new OperationException(
                          Code.INVALID,
                          "the policy has " + result.problems().size() + " problem(s):",
                          result.problems().stream().map(Problem::toString).toList()));
      Entry other = policies.put(policy.name(), new Entry(policy, file));
      if (other != null) {
        throw new OperationException(
            Code.INVALID,
            "policy " + policy.name() + " stands in " + other.file() + " and in " + file);
      }
    }
    return policies;
  }

  /** The policy of this name. */
  StoragePolicy get(String name) throws OperationException {
    SortedMap<String, Entry> all = all();
    Entry entry = all.get(name);
    if (entry == null) {
      throw new OperationException(
          Code.NOT_FOUND,
          "no policy "
              + name
              + " in "
              + folder
              + " (there are: "
              + String.join(", ", all.keySet())
              + ")");
    }
    return entry.policy();
  }
}
