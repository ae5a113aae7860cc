package io.filterd.daemon.cli;

import io.filterd.daemon.control.KmsCare;
import java.io.PrintWriter;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Prints certificates: tables for people, or JSON for programs. */
final class KmsOutput {
  private final PrintWriter out;
  private final Output output;

  KmsOutput(Common common) {
    this.out = common.out();
    this.output = common.output();
  }

  void print(KmsCare.Taken taken) {
    if (output.printedAsJson(taken)) {
      return;
    }
    String provider = taken.provider();
    if (!taken.inUse()) {
      out.println(
          "Taken, and not in use yet: filterd provider certificate switch "
              + provider
              + " proves it and puts it in use.");
    } else if (taken.keysRead() > 0) {
      out.println(
          "In use now by key provider " + provider + "; keys that it read: " + taken.keysRead());
    } else {
      out.println(
          "In use now by key provider "
              + provider
              + ". Whether its servers take it: filterd provider status --probe");
    }
    certificate("subject", taken.certificate());
    taken.warnings().forEach(warning -> out.println("Warning: " + warning));
    out.flush();
  }

  void print(KmsCare.Certificates all) {
    if (output.printedAsJson(all)) {
      return;
    }
    out.println("Key provider " + all.provider() + ", certificates in " + all.folder());
    if (all.inUse() == null) {
      out.println("In use: none.");
    } else {
      certificate("in use", all.inUse());
    }
    if (all.next() != null) {
      certificate("next", all.next());
    }
    if (all.waiting()) {
      out.println("A request waits for its certificate.");
    }
    out.println();
    servers(all.servers());
    out.flush();
  }

  /** The servers' certificates. */
  void servers(List<KmsCare.Server> servers) {
    Table table = new Table("SERVER", "TRUST", "ENDS", "SUBJECT", "ISSUER", "SERIAL");
    for (KmsCare.Server server : servers) {
      KmsCare.Certificate shown = server.certificate();
      if (shown == null) {
        table.add(server.server(), server.trust(), "-", String.valueOf(server.problem()), "-", "-");
      } else {
        table.add(
            server.server(),
            server.trust(),
            shown.notAfter(),
            shown.subject(),
            shown.issuer(),
            shown.serial());
      }
    }
    out.print(table);
    for (KmsCare.Server server : servers) {
      if (server.certificate() != null) {
        out.println(server.server() + " SHA-256 " + server.certificate().sha256());
      }
    }
    out.flush();
  }

  private void certificate(String label, KmsCare.@Nullable Certificate certificate) {
    if (certificate != null) {
      line(label, certificate.subject());
      line("issuer", certificate.issuer());
      line("serial", certificate.serial());
      line("sha-256", certificate.sha256());
      line("valid", certificate.notBefore() + " to " + certificate.notAfter());
    }
  }

  private void line(String name, String value) {
    out.printf("%-8s  %s%n", name, value);
  }
}
