package io.filterd.keys;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.jar.JarEntry;
import java.util.jar.JarOutputStream;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ThirdPartyProviderTest {
  private static final String SOURCE =
      """
      package com.example;
      import io.filterd.keys.*;
      import java.util.*;
      public final class ExampleFactory implements KeyProviderFactory {
        public String type() { return "example"; }
        public KeyProvider open(String name, Map<String, String> settings) {
          return new KeyProvider() {
            public String name() { return name; }
            public KeyReference create(KeyLabel label) {
              return new KeyReference(name, settings.get("prefix") + label.name(), "00000000000000ff");
            }
            public KeyDescription describe(KeyReference key) {
              return new KeyDescription(key, KeyState.ACTIVE, Optional.empty(), Optional.empty());
            }
            public ProviderStatus status() {
              return new ProviderStatus(name, "example", ProviderStatus.State.READY, List.of());
            }
            public void close() {}
          };
        }
      }
      """;

  @TempDir Path folder;

  private Path jar() throws IOException {
    Path source = Files.writeString(folder.resolve("ExampleFactory.java"), SOURCE);
    int failed =
        ToolProvider.getSystemJavaCompiler()
            .run(null, null, null, "-proc:none", "-d", folder.toString(), source.toString());
    assertThat(failed).isZero();
    Path jar = folder.resolve("example.jar");
    try (JarOutputStream out = new JarOutputStream(Files.newOutputStream(jar))) {
      for (String name : new String[] {"ExampleFactory.class", "ExampleFactory$1.class"}) {
        out.putNextEntry(new JarEntry("com/example/" + name));
        Files.copy(folder.resolve("com/example/" + name), out);
      }
      out.putNextEntry(new JarEntry("META-INF/services/" + KeyProviderFactory.class.getName()));
      out.write("com.example.ExampleFactory\n".getBytes(StandardCharsets.UTF_8));
    }
    return jar;
  }

  @Test
  void aProviderInAnotherJarIsFound() throws IOException, KeyException {
    Thread thread = Thread.currentThread();
    ClassLoader before = thread.getContextClassLoader();
    try (URLClassLoader loader = new URLClassLoader(new URL[] {jar().toUri().toURL()}, before)) {
      thread.setContextClassLoader(loader);
      Map<String, String> settings = Map.of("prefix", "key-of-");

      assertThat(KeyProviders.inspect("example", "mine", settings).state())
          .isEqualTo(ProviderStatus.State.LOCKED);
      try (KeyProvider provider = KeyProviders.open("example", "mine", settings)) {
        KeyReference made = provider.create(new KeyLabel(KeyLabel.Scope.VM, "vm1"));
        assertThat(made.keyId()).isEqualTo("key-of-vm1");
        assertThat(provider.describe(made).state()).isEqualTo(KeyState.ACTIVE);
      }
    } finally {
      thread.setContextClassLoader(before);
    }
  }
}
