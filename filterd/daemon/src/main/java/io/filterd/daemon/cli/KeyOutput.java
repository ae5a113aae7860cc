package io.filterd.daemon.cli;

import io.filterd.daemon.control.KeyCare;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Prints what there is to say of keys: tables for people, or JSON for programs. */
final class KeyOutput {
  private final PrintWriter out;
  private final Output output;

  KeyOutput(PrintWriter out, boolean json) {
    this.out = out;
    this.output = new Output(out, json);
  }

  void print(KeyCare.Keys keys) {
    if (output.printedAsJson(keys)) {
      return;
    }
    if (keys.keys().isEmpty()) {
      out.println("No keys: nothing is encrypted.");
    } else {
      Table table = new Table("PROVIDER", "KEY", "STATUS", "STATE", "HERE", "USED BY", "DETAIL");
      for (KeyCare.Key key : keys.keys()) {
        table.add(
            key.provider(),
            key.keyId(),
            key.status(),
            text(key.state()),
            key.here(),
            users(key),
            key.detail() == null ? "" : key.detail());
      }
      out.print(table);
    }
    keys.problems().forEach(out::println);
    out.flush();
  }

  private static String users(KeyCare.Key key) {
    List<String> users = new ArrayList<>(key.disks());
    if (key.links().size() > key.disks().size()) {
      users.add("(" + key.links().size() + " links)");
    }
    key.vms().forEach(vm -> users.add("new disks of " + vm));
    key.tenants().forEach(tenant -> users.add("new disks of tenant " + tenant));
    return String.join(", ", users);
  }

  void print(KeyCare.DiskStates states) {
    if (output.printedAsJson(states)) {
      return;
    }
    Table table = new Table("DISK", "STATE", "REASON");
    for (KeyCare.DiskState each : states.disks()) {
      table.add(each.disk(), each.state(), each.reason() == null ? "" : each.reason());
    }
    out.print(table);
    states.warnings().forEach(out::println);
    out.flush();
  }

  void print(KeyCare.Preflight preflight) {
    if (output.printedAsJson(preflight)) {
      return;
    }
    Table table = new Table("VM", "LOSS OF", "SURVIVES", "REASON");
    for (KeyCare.VmLosses vm : preflight.vms()) {
      for (KeyCare.Loss loss : vm.losses()) {
        table.add(vm.vm(), lost(loss), loss.survives() ? "yes" : "NO", loss.reason());
      }
    }
    out.print(table);
    out.flush();
  }

  private static String lost(KeyCare.Loss loss) {
    return switch (loss.loss()) {
      case "reboot" -> "memory (a reboot)";
      case "all-providers" -> "all key providers";
      case "host-disk" -> "this host's disk";
      default -> loss.loss() + " " + text(loss.what());
    };
  }

  private static String text(@Nullable String value) {
    return value == null ? "-" : value;
  }
}
