package io.filterd.inventory;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.inventory.ServeOptions.Mode;
import org.junit.jupiter.api.Test;

class ServeOptionsTest {
  @Test
  void refusesLessThanNoClients() {
    assertThatThrownBy(() -> new ServeOptions(Mode.READ_ONLY, -1, 0))
        .hasMessage("maxClients: -1 (expected: >= 0)");
  }

  @Test
  void refusesTooLittleMemoryForChangesAndSomeForNone() {
    assertThatThrownBy(() -> new ServeOptions(Mode.COPY_ON_WRITE, 0, 1000))
        .hasMessage("cowMemoryBytes: 1000 (expected: >= 1048576)");
    assertThatThrownBy(() -> new ServeOptions(Mode.READ_WRITE, 0, 1 << 20))
        .hasMessage("cowMemoryBytes: 1048576 (expected: 0 without copy-on-write)");
  }
}
