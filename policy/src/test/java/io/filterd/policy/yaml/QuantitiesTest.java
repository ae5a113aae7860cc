package io.filterd.policy.yaml;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class QuantitiesTest {
  @ParameterizedTest
  @CsvSource({
    "0B, 0",
    "512B, 512",
    "4KiB, 4096",
    "4 KiB, 4096",
    "200MiB, 209715200",
    "3GiB, 3221225472",
    "8388607TiB, 9223370937343148032",
    "9223372036854775807B, 9223372036854775807"
  })
  void readsSizes(String text, long bytes) {
    assertThat(Quantities.bytes(text)).hasValue(bytes);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "4096",
        "KiB",
        "-1B",
        "+1B",
        "1.5KiB",
        "4KB",
        "4kib",
        "4k",
        "4  KiB",
        "4KiB ",
        "0x10B",
        "8388608TiB",
        "9223372036854775808B",
        "99999999999999999999B",
        "4KiB/s",
        "٤KiB"
      })
  void refusesWhatIsNoSize(String text) {
    assertThat(Quantities.bytes(text)).isEmpty();
  }

  @Test
  void readsRates() {
    assertThat(Quantities.bytesPerSecond("200MiB/s")).hasValue(200 << 20);
    assertThat(Quantities.bytesPerSecond("200MiB")).isEmpty();
    assertThat(Quantities.bytesPerSecond("/s")).isEmpty();
    assertThat(Quantities.bytesPerSecond("1MiB/m")).isEmpty();
    assertThat(Quantities.operationsPerSecond("5000/s")).hasValue(5000);
    assertThat(Quantities.operationsPerSecond("5000")).isEmpty();
    assertThat(Quantities.operationsPerSecond("5000B/s")).isEmpty();
  }

  @Test
  void readsTimes() {
    assertThat(Quantities.duration("250ms")).isEqualTo(Duration.ofMillis(250));
    assertThat(Quantities.duration("30s")).isEqualTo(Duration.ofSeconds(30));
    assertThat(Quantities.duration("5m")).isEqualTo(Duration.ofMinutes(5));
    assertThat(Quantities.duration("12h")).isEqualTo(Duration.ofHours(12));
    assertThat(Quantities.duration("365d")).isEqualTo(Duration.ofDays(365));
    assertThat(Quantities.duration("30")).isNull();
    assertThat(Quantities.duration("30 days")).isNull();
    assertThat(Quantities.duration("9223372036854775807d")).isNull();
  }

  @Test
  void writesWhatItReads() {
    assertThat(Quantities.bytesText(0)).isEqualTo("0B");
    assertThat(Quantities.bytesText(1000)).isEqualTo("1000B");
    assertThat(Quantities.bytesText(4096)).isEqualTo("4KiB");
    assertThat(Quantities.bytesText(5L << 39)).isEqualTo("2560GiB");
    assertThat(Quantities.bytesText(Long.MAX_VALUE)).isEqualTo(Long.MAX_VALUE + "B");
    assertThat(Quantities.durationText(Duration.ofMillis(1500))).isEqualTo("1500ms");
    assertThat(Quantities.durationText(Duration.ofDays(2))).isEqualTo("2d");
  }
}
