package io.filterd.nbd;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.lang.reflect.Method;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;

/** Holds docs/conformance.md to the tests that it names. */
final class ConformanceTableTest {
  private static final Pattern TEST = Pattern.compile("`(\\w+(?:Test|IT))\\.(\\w+)`");
  private static final Pattern ROW = Pattern.compile("^\\| (?!Requirement)[^|]+\\|.*\\|$");

  @Test
  void namesTestsThatExist() throws IOException, ClassNotFoundException {
    List<String> rows =
        Files.readAllLines(Path.of("docs", "conformance.md")).stream()
            .filter(line -> ROW.matcher(line).matches() && !line.startsWith("|---"))
            .toList();

    assertThat(rows).hasSizeGreaterThan(40);
    for (String row : rows) {
      List<String[]> tests =
          TEST.matcher(row)
              .results()
              .map(match -> new String[] {match.group(1), match.group(2)})
              .toList();
      assertThat(tests).as(row).isNotEmpty();
      for (String[] test : tests) {
        Class<?> type = Class.forName("io.filterd.nbd." + test[0]);
        assertThat(Arrays.stream(type.getDeclaredMethods()).filter(this::isTest))
            .as(row)
            .extracting(Method::getName)
            .contains(test[1]);
      }
    }
  }

  private boolean isTest(Method method) {
    return method.isAnnotationPresent(Test.class)
        || method.isAnnotationPresent(ParameterizedTest.class);
  }
}
