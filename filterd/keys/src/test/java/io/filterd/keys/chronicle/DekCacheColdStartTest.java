package io.filterd.keys.chronicle;

import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.keys.ForkedJvm;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DekCacheColdStartTest {
  /** Chronicle needs these of the JDK; no compiler is among them. */
  private static final String MODULES =
      "java.base,java.logging,java.management,java.naming,jdk.unsupported";

  @TempDir Path folder;

  @Test
  void worksSilentlyInARuntimeWithoutACompiler() throws IOException, InterruptedException {
    String output = ForkedJvm.run(folder, List.of("--limit-modules", MODULES), DekCacheProbe.class);

    assertThat(output).isEqualTo("compiler=false right=true marker=null\n");
  }

  @Test
  void takesNoPropertiesFromTheWorkingFolder() throws IOException, InterruptedException {
    Files.writeString(folder.resolve("system.properties"), "filterd.marker=loaded\n");

    String output = ForkedJvm.run(folder, List.of(), DekCacheProbe.class);

    assertThat(output).isEqualTo("compiler=true right=true marker=null\n");
  }

  @Test
  void compilesAndGeneratesNothing() throws IOException, InterruptedException {
    String loaded = ForkedJvm.run(folder, List.of("-Xlog:class+load"), DekCacheProbe.class);

    assertThat(loaded)
        .contains("right=true")
        .doesNotContain("com.sun.tools.javac")
        .doesNotContain("javax.tools")
        .doesNotContain("$$Native")
        .doesNotContain("analytics.Analytics ");
  }
}
