package io.filterd.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

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
}
