package io.filterd.daemon.cli;

import io.filterd.daemon.control.KeyOperations;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Prints what was done to keys: tables and sentences for people, or JSON for programs. */
final class RecryptOutput {
  private final Common common;

  RecryptOutput(Common common) {
    this.common = common;
  }

  private void line(String text) {
    common.out().println(text);
    common.out().flush();
  }

  void print(KeyOperations.Recrypted done) {
    if (common.output().printedAsJson(done)) {
      return;
    }
    if (done.disks().isEmpty()) {
      line("No disk needs a new key: " + done.what() + ".");
      return;
    }
    Table table = new Table("DISK", "STATE", ">LINKS", "OLD KEY", "NEW KEY");
    for (KeyOperations.RecryptedDisk disk : done.disks()) {
      table.add(
          disk.disk(),
          disk.state(),
          Integer.toString(disk.links()),
          text(disk.from()),
          text(disk.to() == null ? List.of() : List.of(disk.to())));
    }
    common.out().print(table);
    long count = done.disks().stream().filter(disk -> disk.state().equals("done")).count();
    for (KeyOperations.RecryptedDisk disk : done.disks()) {
      if (disk.reason() != null) {
        line(disk.disk() + ": " + disk.reason());
      }
    }
    line(count + " of " + done.disks().size() + " disks have new keys.");
    if (count < done.disks().size()) {
      line("The others open as before. Try them again: filterd key recrypt --resume");
    }
  }

  private static String text(@Nullable List<String> keys) {
    return keys == null || keys.isEmpty() ? "-" : String.join(" ", keys);
  }

  void print(KeyOperations.KeyUses uses) {
    if (common.output().printedAsJson(uses)) {
      return;
    }
    if (uses.uses().isEmpty()) {
      line("Nothing names key " + uses.key() + ".");
      return;
    }
    Table table = new Table("NAMED BY", "CERTAIN", "HOW");
    for (KeyOperations.KeyUse use : uses.uses()) {
      table.add(use.name(), use.certain() ? "yes" : "no", use.how());
    }
    common.out().print(table);
    common.out().flush();
  }

  /** One thing that names a key, in a line. */
  static String text(KeyOperations.KeyUse use) {
    return (use.certain() ? "" : "perhaps ") + use.name() + ": " + use.how();
  }
}
