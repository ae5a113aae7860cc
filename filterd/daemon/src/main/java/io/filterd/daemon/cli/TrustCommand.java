package io.filterd.daemon.cli;

import io.filterd.daemon.control.KmsCare;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import io.filterd.daemon.control.Requests;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.Charset;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code filterd provider trust}. */
@Command(
    name = "trust",
    description = {
      "Look at the certificates of a KMIP provider's servers, and trust those that you confirm.",
      "Compare the SHA-256 with what the server's own console shows. Not with serverCaFile."
    })
final class TrustCommand implements Callable<Integer> {
  @Mixin private Common common = new Common();

  @Option(
      names = "--yes-fingerprint",
      paramLabel = "SHA256",
      description = {
        "Trust the server that shows a certificate with this fingerprint, without asking. May be"
            + " given several times."
      })
  private List<String> fingerprints = new ArrayList<>();

  @Parameters(arity = "0..1", paramLabel = "PROVIDER", description = ProviderCommand.PROVIDER_HELP)
  private @Nullable String provider;

  @Override
  public Integer call() throws OperationException, IOException {
    List<String> confirmed = fingerprints.isEmpty() ? ask() : fingerprints;
    if (!confirmed.isEmpty()) {
      KmsCare.TrustServers request = new KmsCare.TrustServers(provider, confirmed);
      new KmsOutput(common).print(common.call(KmsCare.TRUST, request, "trust"));
    }
    return 0;
  }

  private List<String> ask() throws OperationException, IOException {
    if (common.json()) {
      throw new OperationException(
          Code.INVALID,
          "--json: asks nobody (expected: --yes-fingerprint with it; `filterd provider certificate"
              + " show` shows them)");
    }
    KmsCare.Certificates all =
        common.call(KmsCare.CERTIFICATE_SHOW, new Requests.Provider(provider), "trust");
    new KmsOutput(common).servers(all.servers());
    BufferedReader answers =
        new BufferedReader(new InputStreamReader(System.in, Charset.defaultCharset()));
    Set<String> confirmed = new LinkedHashSet<>();
    Set<String> asked = new LinkedHashSet<>();
    for (KmsCare.Server server : all.servers()) {
      KmsCare.Certificate shown = server.certificate();
      if (shown != null && server.trust().equals("none") && asked.add(shown.sha256())) {
        common.out().printf("Trust %s, SHA-256 %s? Type yes: ", server.server(), shown.sha256());
        common.out().flush();
        String answer = answers.readLine();
        if (answer != null && answer.strip().equals("yes")) {
          confirmed.add(shown.sha256());
        }
      }
    }
    if (!asked.isEmpty() && confirmed.isEmpty()) {
      throw new OperationException(Code.CANCELLED, "none is trusted: nobody typed yes");
    }
    if (asked.isEmpty()) {
      common.out().println("There is none to be trusted.");
      common.out().flush();
    }
    return List.copyOf(confirmed);
  }
}
