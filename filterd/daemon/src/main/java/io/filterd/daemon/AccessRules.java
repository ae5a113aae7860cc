package io.filterd.daemon;

import io.filterd.daemon.AccessRule.Allow;
import io.filterd.nbd.Client;
import java.nio.file.Path;
import java.util.List;

/**
 * Who may use which export: the first rule that is about both says so, and what none is about is
 * refused.
 *
 * @param file the configuration that they are from
 */
record AccessRules(Path file, List<AccessRule> rules) {
  /** Keeps a copy of the rules. */
  AccessRules {
    rules = List.copyOf(rules);
  }

  /** What a client may do with an export. */
  Allow allow(Client client, String export) {
    for (AccessRule rule : rules) {
      if (rule.isAbout(client) && rule.isAbout(export)) {
        return rule.allow();
      }
    }
    return Allow.NONE;
  }

  /** Whether there may be anything at all for a client. */
  boolean know(Client client) {
    return rules.stream().anyMatch(rule -> rule.isAbout(client) && rule.allow() != Allow.NONE);
  }

  /** Whether there may be more for clients in TLS. */
  boolean needTls() {
    return rules.stream().anyMatch(rule -> rule.needsTls() && rule.allow() != Allow.NONE);
  }
}
