package io.filterd.daemon.cli;

import picocli.CommandLine.Command;

/** {@code filterd key}. */
@Command(
    name = "key",
    description = "Replace, revoke and destroy key-encryption keys.",
    subcommands = {
      RecryptCommands.Recrypt.class,
      RecryptCommands.Uses.class,
      RecryptCommands.Revoke.class,
      RecryptCommands.Destroy.class
    })
final class KeyCommand {}
