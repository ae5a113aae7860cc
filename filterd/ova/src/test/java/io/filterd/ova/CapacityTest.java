package io.filterd.ova;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class CapacityTest {
  @ParameterizedTest
  @CsvSource({
    "1, byte, 1",
    "10, byte * 2^30, 10737418240",
    "10, byte*2^30, 10737418240",
    "3, Bytes * 10^9, 3000000000",
    "7, byte * 2^0, 7",
    "1152921504606846976, byte, 1152921504606846976",
  })
  void readsNumbersWithUnits(String number, String unit, long bytes) {
    assertThat(Capacity.bytes(number, unit)).hasValue(bytes);
  }

  @ParameterizedTest
  @CsvSource({
    "0, byte",
    "-1, byte",
    "1.5, byte * 2^30",
    "${disk.size}, byte",
    "1, byte * 2^63",
    "1, byte * 2^64",
    "1, byte * 10^99",
    "9223372036854775807, byte",
    "9999999999999999999, byte",
    "9007199254740993, byte * 2^10",
    "1, byte * 3^10",
    "1, GB",
    "1, byte * 2^",
  })
  void takesNothingElse(String number, String unit) {
    assertThat(Capacity.bytes(number, unit)).isEmpty();
  }
}
