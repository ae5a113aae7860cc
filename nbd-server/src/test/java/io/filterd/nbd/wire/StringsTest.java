package io.filterd.nbd.wire;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

final class StringsTest {
  @Test
  void printsNothingThatBreaksALineOrCommandsATerminal() {
    assertThat(Strings.printable("a\nb\r\u001b[2J\u0085\u2028\u2029\u202e"))
        .isEqualTo("a\\u000ab\\u000d\\u001b[2J\\u0085\\u2028\\u2029\\u202e");
  }

  @Test
  void printsWordsAsTheyAre() {
    assertThat(Strings.printable("vm1/größe 数 😀")).isEqualTo("vm1/größe 数 😀");
  }

  @Test
  void printsNoLongLines() {
    assertThat(Strings.printable("x".repeat(5000))).hasSize(256);
  }
}
