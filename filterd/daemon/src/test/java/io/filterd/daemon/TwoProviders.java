package io.filterd.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.kmip.cert.IdentityFolder;
import io.filterd.kmip.server.PyKmipServer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Two key providers of a host, {@code a} and {@code b}, between which its disks move. */
interface TwoProviders extends AutoCloseable {
  /** Makes them, and the text of the configuration's {@code providers}. */
  void prepare(Path folder) throws IOException;

  /** From now on nobody has the keys of {@code a} any more. */
  void loseA(Path folder) throws IOException;

  @Override
  default void close() throws IOException {}

  /** Two native ones. */
  static TwoProviders ofTypeNative() {
    return new TwoProviders() {
      @Override
      public void prepare(Path folder) throws IOException {
        String one = "%s: {type: native, backup: waived, passphraseFile: native.passphrase}";
        Files.writeString(
            folder.resolve(RunningFilterd.KEYS),
            "{providers: {" + one.formatted("a") + ", " + one.formatted("b") + "}}");
        RunningFilterd.configure(folder, 0);
        for (String name : new String[] {"a", "b"}) {
          RunningFilterd.Result made = RunningFilterd.filterd(folder, "provider", "init", name);
          assertThat(made.exitCode()).as("%s", made.output()).isZero();
        }
      }

      @Override
      public void loseA(Path folder) throws IOException {
        Files.delete(folder.resolve("a.provider"));
      }

      @Override
      public String toString() {
        return "native";
      }
    };
  }

  /** Two servers of a KMS that have nothing in common but who may use them. */
  static TwoProviders ofTypeKmip() {
    return new TwoProviders() {
      private final List<PyKmipServer> servers = new ArrayList<>();

      @Override
      public void prepare(Path folder) throws IOException {
        servers.add(PyKmipServer.start(folder.resolve("kms-a")));
        servers.add(servers.getFirst().startStranger(folder.resolve("kms-b")));
        StringBuilder providers = new StringBuilder();
        for (String name : List.of("a", "b")) {
          PyKmipServer server = servers.get(name.equals("a") ? 0 : 1);
          IdentityFolder identity = new IdentityFolder(folder.resolve(name + ".kmip"));
          var _ =
              identity.upload(
                  server.key("filterd"),
                  server.certificate("filterd"),
                  IdentityFolder.Subject.SAME);
          identity.switchToNext(next -> {});
          providers.append(
              "%s: {type: kmip, servers: [\"%s:%d\"], folder: %s, serverCaFile: %s}, "
                  .formatted(
                      name,
                      server.host(),
                      server.port(),
                      folder.resolve(name + ".kmip"),
                      server.authorities()));
        }
        Files.writeString(
            folder.resolve(RunningFilterd.KEYS),
            "{providers: {" + providers.substring(0, providers.length() - 2) + "}}");
        RunningFilterd.configure(folder, 0);
      }

      @Override
      public void loseA(Path folder) {
        servers.getFirst().close();
      }

      @Override
      public void close() {
        servers.forEach(PyKmipServer::close);
      }

      @Override
      public String toString() {
        return "KMIP";
      }
    };
  }
}
