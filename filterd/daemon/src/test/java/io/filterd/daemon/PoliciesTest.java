package io.filterd.daemon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import io.filterd.daemon.control.Results;
import io.filterd.policy.PolicyResult;
import io.filterd.policy.StoragePolicy;
import io.filterd.policy.StoragePolicy.FilterUse;
import io.filterd.vmdk.CreateOptions;
import io.filterd.vmdk.VmdkDisk;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Policies against the filters that there really are. */
class PoliciesTest {
  private static final Path POLICIES = RunningFilterd.HOME.resolve("conf/policies");

  @TempDir Path folder;

  static List<String> names() throws Exception {
    try (Stream<Path> files = Files.list(POLICIES)) {
      return files
          .map(file -> file.getFileName().toString().replace(".yaml", ""))
          .sorted()
          .toList();
    }
  }

  @Test
  void filterdComesWithSome() throws Exception {
    assertThat(names()).containsExactly("encrypted", "encrypted-512", "encrypted-limited", "plain");
  }

  @ParameterizedTest
  @MethodSource("names")
  void eachIsGoodAndItsFiltersStack(String name) throws Exception {
    FilterRegistry filters = FilterRegistry.load();
    Path file = POLICIES.resolve(name + ".yaml");
    Path disk = folder.resolve("disk.vmdk");
    VmdkDisk.create(disk, CreateOptions.ofSize(1 << 20));

    PolicyResult result = PolicyFolder.check(file, filters.catalog());
    assertThat(result.problems()).isEmpty();
    StoragePolicy policy = result.policy().orElseThrow();
    assertThat(policy.name()).isEqualTo(name);
    assertThat(policy.description()).isNotEmpty();
    try (DiskStack stack = PlainDisk.open("vm/disk", filters, disk, policy)) {
      assertThat(stack.filterUses()).isEqualTo(policy.filters());
      assertThat(stack.filters())
          .extracting(Results.Filter::name)
          .containsExactlyElementsOf(policy.filters().stream().map(FilterUse::filter).toList());
    }
  }

  @Test
  void aLimitBelowOneRequestIsRefused() throws Exception {
    Path file =
        Files.writeString(
            folder.resolve("slow.yaml"),
            "version: 1\nname: slow\nfilters: {qos: {bandwidth: 1B/s, operations: 0/s}}\n");

    assertThat(PolicyFolder.check(file, FilterRegistry.load().catalog()).problems())
        .singleElement()
        .asString()
        .endsWith("bandwidth: 1B/s (expected: 1MiB/s to 1024TiB/s, or 0B/s)");
  }

  @Test
  void aMistakeInOneFileDoesNoHarmToOtherPolicies() throws Exception {
    PolicyFolder policies = new PolicyFolder(folder, FilterRegistry.load().catalog());
    for (String file : List.of("a", "twice")) {
      Files.writeString(folder.resolve(file + ".yaml"), "version: 1\nname: " + file + "\n");
    }
    Files.writeString(folder.resolve("twice-2.yaml"), "version: 1\nname: twice\n");
    Files.writeString(folder.resolve("wrong.yaml"), "version: 1\nname: wrong\nfilters: {no: {}}\n");

    assertThat(policies.get("a").name()).isEqualTo("a");
    for (String name : List.of("wrong", "twice", "none")) {
      assertThat(catchThrowableOfType(OperationException.class, () -> policies.get(name)).details())
          .as(name)
          .hasSize(2)
          .anyMatch(problem -> problem.contains("wrong.yaml:3: filters.no: is unknown"))
          .anyMatch(problem -> problem.startsWith("policy twice: stands in "));
    }
    assertThat(catchThrowableOfType(OperationException.class, policies::all).code())
        .isEqualTo(Code.INVALID);
  }
}
