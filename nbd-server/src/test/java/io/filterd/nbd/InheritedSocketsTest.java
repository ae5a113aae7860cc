package io.filterd.nbd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.nbd.InheritedSockets.Inherited;
import java.io.IOException;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What the environment of a service says of its sockets; that it works is SocketActivationIT's. */
final class InheritedSocketsTest {
  private static final Map<String, String> THREE =
      Map.of("LISTEN_PID", "77", "LISTEN_FDS", "3", "LISTEN_FDNAMES", "a:b:a");

  @Test
  void findsSocketsByName() throws IOException {
    assertThat(InheritedSockets.named("a", THREE, 77))
        .containsExactly(new Inherited(3, "a"), new Inherited(5, "a"));
    assertThat(InheritedSockets.named("b", THREE, 77)).containsExactly(new Inherited(4, "b"));
    assertThat(InheritedSockets.named("", THREE, 77)).hasSize(3);
  }

  @Test
  void callsSocketsWithoutANameUnknown() throws IOException {
    Map<String, String> one = Map.of("LISTEN_PID", "77", "LISTEN_FDS", "1");

    assertThat(InheritedSockets.named("", one, 77)).containsExactly(new Inherited(3, "unknown"));
  }

  @Test
  void saysWhichNamesThereAre() {
    assertThatThrownBy(() -> InheritedSockets.named("c", THREE, 77))
        .hasMessage("none is named c (expected: one of a:b:a)");
  }

  @Test
  void leavesTheSocketsOfAnotherProcess() {
    assertThatThrownBy(() -> InheritedSockets.named("a", THREE, 78))
        .hasMessageStartingWith("LISTEN_PID: 77 (expected: 78");
    assertThatThrownBy(() -> InheritedSockets.named("a", Map.of(), 78))
        .hasMessageStartingWith("LISTEN_PID: none (expected: 78");
  }

  @ParameterizedTest
  @CsvSource({"0", "-1", "1025", "x", "''", "99999999999"})
  void refusesAWrongCount(String count) {
    Map<String, String> wrong = Map.of("LISTEN_PID", "77", "LISTEN_FDS", count);

    assertThatThrownBy(() -> InheritedSockets.named("", wrong, 77))
        .hasMessage("LISTEN_FDS: " + count + " (expected: 1..1024)");
  }
}
