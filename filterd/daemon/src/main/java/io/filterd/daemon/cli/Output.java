package io.filterd.daemon.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import io.filterd.daemon.control.Care;
import io.filterd.daemon.control.Json;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.Results;
import io.filterd.daemon.control.Sizes;
import java.io.PrintWriter;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Prints results: tables and sentences for people, or JSON for programs. */
final class Output {
  private final PrintWriter out;
  private final boolean json;

  Output(PrintWriter out, boolean json) {
    this.out = out;
    this.json = json;
  }

  /** Prints the result as JSON if that was asked for; true if it was. */
  boolean printedAsJson(Object result) {
    if (json) {
      try {
        out.println(Json.MAPPER.writerWithDefaultPrettyPrinter().writeValueAsString(result));
      } catch (JsonProcessingException bug) {
        throw new IllegalStateException(bug);
      }
      out.flush();
    }
    return json;
  }

  void print(Results.Done done) {
    if (!printedAsJson(done)) {
      out.println(done.message());
      out.flush();
    }
  }

  void print(Results.Disks disks) {
    if (printedAsJson(disks)) {
      return;
    }
    if (disks.disks().isEmpty()) {
      out.println(
          "No disks. Make one: filterd disk create vm1/disk0 --size 1GiB --policy encrypted");
      out.flush();
      return;
    }
    table(disks.disks());
    out.flush();
  }

  private void table(List<Results.Disk> disks) {
    Table table = new Table("DISK", "STATE", ">SIZE", ">STORED", "POLICY", "ENCRYPTED", "FILE");
    for (Results.Disk disk : disks) {
      table.add(
          disk.name(),
          disk.state(),
          Sizes.text(disk.sizeBytes()),
          Sizes.text(disk.storedBytes()),
          text(disk.policy()),
          disk.encrypted() ? "yes" : "no",
          disk.file());
    }
    out.print(table);
    for (Results.Disk disk : disks) {
      if (disk.reason() != null) {
        out.println(disk.name() + ": " + disk.reason());
      }
    }
  }

  void print(Results.Vms vms) {
    if (printedAsJson(vms)) {
      return;
    }
    if (vms.vms().isEmpty()) {
      out.println("No VMs. Make one: filterd vm import FILE.ova --vm vm1 --policy encrypted");
      out.flush();
      return;
    }
    Table table = new Table("VM", ">SIZE", ">STORED", "DISKS");
    for (Results.Vm vm : vms.vms()) {
      table.add(
          vm.name(),
          Sizes.text(vm.sizeBytes()),
          Sizes.text(vm.storedBytes()),
          String.join(" ", vm.disks()));
    }
    out.print(table);
    out.flush();
  }

  void print(Results.ImportedVm imported) {
    if (printedAsJson(imported)) {
      return;
    }
    out.println(
        "Imported "
            + imported.source()
            + (imported.verified()
                ? ", which is as its manifest says."
                : ". It has no manifest, so nobody can say whether it is as it was made."));
    table(imported.disks());
    out.flush();
  }

  void print(Results.DiskDetails details) {
    if (printedAsJson(details)) {
      return;
    }
    Results.Disk disk = details.disk();
    line("disk", disk.name());
    line("state", disk.state() + (disk.reason() == null ? "" : ": " + disk.reason()));
    line("size", Sizes.text(disk.sizeBytes()) + " (" + disk.sizeBytes() + " bytes)");
    line("stored", Sizes.text(disk.storedBytes()));
    line("file", disk.file());
    line("format", details.format());
    details.warnings().forEach(warning -> line("warning", warning));
    line("policy", text(disk.policy()));
    line("compliance", details.compliance());
    details.complianceReasons().forEach(reason -> line("", reason));
    Results.Encryption encryption = details.encryption();
    if (encryption == null) {
      line("encryption", "none: the file holds plaintext");
    } else {
      line("encryption", encryption.cipher() + ", data unit " + Sizes.text(encryption.unitBytes()));
      line("key", encryption.keyId() + " (provider " + encryption.provider() + ")");
      line("check value", encryption.checkValue());
      line("disk id", encryption.diskId());
    }
    if (details.access() != null) {
      line("access", details.access());
    }
    details.uris().forEach(uri -> line("export", uri));
    for (Map<String, Object> connection : details.connections()) {
      line("client", pairs(connection));
    }
    for (Results.Filter filter : details.filters()) {
      line("filter", filter.name() + " (" + filter.filterClass() + ", sees " + filter.sees() + ")");
      if (!filter.settings().isEmpty()) {
        line("", pairs(filter.settings()));
      }
      filter.report().forEach((name, value) -> line("", name + ": " + value(value)));
    }
    out.flush();
  }

  void print(Care.Check check) {
    if (printedAsJson(check)) {
      return;
    }
    Table table = new Table("SEVERITY", ">BYTE", "FIELD", "ACTUAL", "EXPECTED", "REPAIR", "FILE");
    for (Care.Finding finding : check.findings()) {
      table.add(
          finding.severity(),
          Long.toString(finding.byteOffset()),
          finding.field(),
          finding.actual(),
          finding.expected(),
          finding.repairable() ? "yes" : "no",
          finding.file());
    }
    if (!check.findings().isEmpty()) {
      out.print(table);
    }
    long all = check.errors() + check.warnings() + check.leaks();
    if (all > check.findings().size()) {
      out.println("... and " + (all - check.findings().size()) + " more");
    }
    out.printf(
        "%s: %s, %s, %d grain(s) in %d table(s): %s%n",
        check.file(),
        check.format(),
        Sizes.text(check.sizeBytes()),
        check.grains(),
        check.tables(),
        all == 0
            ? "clean"
            : "%s: %d error(s), %d warning(s), %d leak(s) of %s"
                .formatted(
                    check.verdict(),
                    check.errors(),
                    check.warnings(),
                    check.leaks(),
                    Sizes.text(check.leakedBytes())));
    out.flush();
  }

  void print(Care.Repair repair) {
    if (printedAsJson(repair)) {
      return;
    }
    if (repair.undone()) {
      out.println("The repair is taken back.");
    } else if (repair.changes() == 0) {
      out.println("There was nothing that could be repaired.");
    } else {
      out.println(
          "Changed " + repair.changes() + " range(s); what they held is in " + repair.backup());
    }
    print(repair.after());
  }

  void print(Results.Connections connections) {
    if (printedAsJson(connections)) {
      return;
    }
    if (connections.connections().isEmpty()) {
      out.println("No client uses a disk now.");
      out.flush();
      return;
    }
    Table table =
        new Table(
            ">ID",
            "CLIENT",
            "DISK",
            "ACCESS",
            ">REQUESTS",
            ">ERRORS",
            ">READ",
            ">WRITTEN",
            ">IN FLIGHT",
            ">AGE",
            ">IDLE");
    for (Results.Connection each : connections.connections()) {
      table.add(
          Long.toString(each.id()),
          each.client(),
          each.disk(),
          each.readOnly() ? "read-only" : "read-write",
          Long.toString(each.requests()),
          Long.toString(each.errors()),
          Sizes.text(each.bytesRead()),
          Sizes.text(each.bytesWritten()),
          Integer.toString(each.inFlight()),
          Times.ofMillis(each.ageMillis()),
          Times.ofMillis(each.idleMillis()));
    }
    out.print(table);
    out.flush();
  }

  void print(Results.ConnectionDetails details) {
    if (printedAsJson(details)) {
      return;
    }
    Results.Connection connection = details.connection();
    line("connection", Long.toString(connection.id()));
    line("client", connection.client());
    line("disk", connection.disk());
    line("access", connection.readOnly() ? "read-only" : "read-write");
    List<String> features = connection.features();
    line("negotiated", features.isEmpty() ? "nothing more" : String.join(", ", features));
    line("connected", Times.ofMillis(connection.ageMillis()));
    line("idle", Times.ofMillis(connection.idleMillis()));
    line("requests", connection.requests() + ", " + connection.errors() + " with an error");
    line("in flight", Integer.toString(connection.inFlight()));
    line("read", Sizes.text(connection.bytesRead()));
    line("written", Sizes.text(connection.bytesWritten()));
    details.latencies().forEach(each -> out.print(new Histogram(each)));
    out.flush();
  }

  void print(Results.ChangePoints points) {
    if (printedAsJson(points)) {
      return;
    }
    if (points.points().isEmpty()) {
      out.println("No points: `filterd disk mark` sets one.");
      out.flush();
      return;
    }
    Table table = new Table("POINT", "SINCE", ">GRAIN");
    for (Results.ChangePoint each : points.points()) {
      table.add(each.point(), each.since(), Sizes.text(each.grainBytes()));
    }
    out.print(table);
    out.flush();
  }

  void print(Results.Changes changes) {
    if (printedAsJson(changes)) {
      return;
    }
    Table table = new Table(">OFFSET", ">LENGTH");
    for (Results.ChangedRange each : changes.ranges()) {
      table.add(Long.toString(each.offset()), Long.toString(each.lengthBytes()));
    }
    out.print(table);
    out.println(
        Sizes.text(changes.changedBytes())
            + " of "
            + Sizes.text(changes.sizeBytes())
            + " changed since "
            + changes.point());
    out.flush();
  }

  void print(Results.Snapshots snapshots) {
    if (printedAsJson(snapshots)) {
      return;
    }
    if (snapshots.snapshots().isEmpty()) {
      out.println("No snapshots. Take one: filterd snapshot create " + snapshots.disk());
    } else {
      Table table = new Table("SNAPSHOT", "TIME", ">CHANGED SINCE", "FILE");
      for (Results.Snapshot each : snapshots.snapshots()) {
        table.add(each.name(), text(each.time()), Sizes.text(each.changedBytes()), each.file());
      }
      out.print(table);
    }
    out.flush();
  }

  void print(Results.Policies policies) {
    if (printedAsJson(policies)) {
      return;
    }
    if (policies.policies().isEmpty()) {
      out.println("No policies: put *.yaml files into the configuration's folder of policies.");
      out.flush();
      return;
    }
    Table table = new Table("POLICY", "FILTERS", "ENCRYPTION", ">DISKS", "DESCRIPTION");
    for (Results.Policy policy : policies.policies()) {
      table.add(
          policy.name(),
          policy.filters().isEmpty() ? "-" : String.join(", ", policy.filters()),
          text(policy.encryption()),
          Integer.toString(policy.disks().size()),
          policy.description());
    }
    out.print(table);
    out.flush();
  }

  void print(Results.Providers providers) {
    if (printedAsJson(providers)) {
      return;
    }
    Table table = new Table("PROVIDER", "TYPE", "STATE", "DEFAULT", "DETAILS");
    for (Results.Provider provider : providers.providers()) {
      table.add(
          provider.name(),
          provider.type(),
          provider.state(),
          provider.isDefault() ? "yes" : "",
          String.join(" ", provider.details()));
    }
    out.print(table);
    out.flush();
  }

  void print(Results.Version version) {
    if (printedAsJson(version)) {
      return;
    }
    out.println("filterd " + version.version() + (version.daemon() ? " (the running daemon)" : ""));
    out.println("Java " + version.java() + ", XTS engine " + version.engine());
    out.flush();
  }

  /** Prints a failure: a sentence, and its problems one per line. */
  static void print(OperationException failure, boolean json, PrintWriter out, PrintWriter err) {
    if (json) {
      new Output(out, true)
          .printedAsJson(
              Map.of(
                  "error",
                  Map.of(
                      "code",
                      failure.code(),
                      "message",
                      String.valueOf(failure.getMessage()),
                      "details",
                      failure.details())));
      return;
    }
    err.println("filterd: " + failure.getMessage());
    failure.details().forEach(detail -> err.println("  " + detail));
    err.flush();
  }

  private void line(String name, String value) {
    out.printf("%-12s  %s%n", name, value);
  }

  private static String text(@Nullable String value) {
    return value == null ? "-" : value;
  }

  private static String value(Object value) {
    return value instanceof Map<?, ?> map ? pairs(map) : String.valueOf(value);
  }

  private static String pairs(Map<?, ?> map) {
    List<String> pairs =
        map.entrySet().stream()
            .map(entry -> entry.getKey() + "=" + value(entry.getValue()))
            .toList();
    return String.join(" ", pairs);
  }
}
