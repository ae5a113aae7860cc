package io.filterd.inventory;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class DiskNameTest {
  @Test
  void hasTwoParts() {
    assertThat(DiskName.parse("vm1/disk0")).isEqualTo(new DiskName("vm1", "disk0"));
  }

  /** As when a path stands where a name should, a message about a part of it would be a riddle. */
  @ParameterizedTest
  @ValueSource(strings = {"disk0", "/tmp/old.vmdk", "/disk0", "vm1/a/b"})
  void saysTheWholeOfWhatHasNotTwoParts(String text) {
    assertThatThrownBy(() -> DiskName.parse(text))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("disk name: \"" + text + "\"");
  }

  @ParameterizedTest
  @ValueSource(strings = {"vm1/..", "../disk0", "vm1/", "vm 1/disk0"})
  void partsAreSafeInPaths(String text) {
    assertThatThrownBy(() -> DiskName.parse(text)).isInstanceOf(IllegalArgumentException.class);
  }
}
