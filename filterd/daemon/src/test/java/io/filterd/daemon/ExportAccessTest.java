package io.filterd.daemon;

import static io.filterd.daemon.AccessRulesTest.certified;
import static io.filterd.daemon.AccessRulesTest.local;
import static io.filterd.daemon.AccessRulesTest.plain;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.filterd.block.BlockDevice;
import io.filterd.block.MemoryDevice;
import io.filterd.nbd.Client;
import io.filterd.nbd.Exports;
import io.filterd.nbd.NoAccessException;
import io.filterd.nbd.NoAccessException.Told;
import io.filterd.nbd.TlsRequiredException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ExportAccessTest {
  private static final String LOCAL_ONLY =
      """
      - {unixUser: 0, allow: read-write}
      - {unixUser: 7, exports: [vm1/a], allow: read-only}
      """;

  @TempDir Path folder;

  /** Three disks that everybody may use. */
  private static final class Disks implements Exports {
    @Override
    public List<String> names(Client client) {
      return List.of("vm1/a", "vm1/b", "vm2/a");
    }

    @Override
    public String description(String name, Client client) {
      return "the disk " + name;
    }

    @Override
    public Optional<Lease> open(String name, Client client) {
      return names(client).contains(name) ? Optional.of(new DiskLease(name)) : Optional.empty();
    }
  }

  private record DiskLease(String name) implements Exports.Lease {
    @Override
    public BlockDevice device() {
      return new MemoryDevice(4096);
    }

    @Override
    public String description() {
      return "a disk";
    }

    @Override
    public boolean readOnly() {
      return false;
    }

    @Override
    public void close() {}
  }

  private Path write(String rules) throws IOException {
    return Files.writeString(
        folder.resolve("filterd.yaml"), "version: 1\nnbd:\n  access:\n" + rules.indent(4));
  }

  private ExportAccess access(String rules) throws Exception {
    return new ExportAccess(
        new Disks(),
        new LiveAccess(Objects.requireNonNull(DaemonConfig.load(write(rules)).access())));
  }

  private static Told told(Exports exports, String name, Client client) {
    return catchThrowableOfType(NoAccessException.class, () -> exports.open(name, client)).told();
  }

  @Test
  void showsEachClientItsExportsOnly() throws Exception {
    Exports exports = access(LOCAL_ONLY);

    assertThat(exports.names(local(0))).hasSize(3);
    assertThat(exports.names(local(7))).containsExactly("vm1/a");
    assertThat(exports.names(local(1))).isEmpty();
    assertThat(exports.description("vm1/b", local(7))).isEmpty();
    assertThat(exports.description("vm1/a", local(7))).isEqualTo("the disk vm1/a");
    assertThat(exports.open("vm1/a", local(0)).orElseThrow().readOnly()).isFalse();
    assertThat(exports.open("vm1/a", local(7)).orElseThrow().readOnly()).isTrue();
    // The default export is the only one there is for the client.
    assertThat(exports.open("", local(7)).orElseThrow().name()).isEqualTo("vm1/a");
    assertThat(exports.open("", local(0))).isEmpty();
  }

  @Test
  void saysNothingOfWhatIsNotForTheClient() throws Exception {
    Exports exports = access(LOCAL_ONLY);

    for (String name : List.of("vm1/b", "none/x")) {
      assertThat(told(exports, name, local(7))).isEqualTo(Told.UNKNOWN);
      assertThat(told(exports, name, local(1))).isEqualTo(Told.SENTENCE);
    }
    assertThat(told(exports, "", local(1))).isEqualTo(Told.SENTENCE);
  }

  @Test
  void sendsClientsForTlsThatMayNeedIt() throws Exception {
    Exports exports = access("- {tlsSubject: CN=alice, exports: [vm1/*], allow: read-write}\n");

    for (String name : List.of("vm1/a", "vm2/a", "none/x")) {
      assertThatThrownBy(() -> exports.open(name, plain()))
          .isInstanceOf(TlsRequiredException.class);
    }
    assertThat(exports.open("vm1/a", certified("CN=alice"))).isPresent();
    assertThat(told(exports, "vm2/a", certified("CN=alice"))).isEqualTo(Told.UNKNOWN);
    assertThat(told(exports, "vm1/a", certified("CN=bob"))).isEqualTo(Told.SENTENCE);
  }

  @Test
  void followsTheFileAndKeepsWhatWasThereIfThatIsBroken() throws Exception {
    Exports exports = access(LOCAL_ONLY);
    assertThat(exports.names(local(7))).hasSize(1);

    write("- {unixUser: 7, exports: ['*'], allow: read-write}\n");
    assertThat(exports.names(local(7))).hasSize(3);
    assertThat(exports.names(local(0))).isEmpty();

    write("- {anyone: true, allow: everything-there-is}\n");
    assertThat(exports.names(local(0))).isEmpty();
    Files.writeString(folder.resolve("filterd.yaml"), "version: 1\n");
    assertThat(exports.names(local(0))).isEmpty();
    Files.delete(folder.resolve("filterd.yaml"));
    assertThat(exports.names(local(7))).hasSize(3);
  }
}
