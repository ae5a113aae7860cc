package io.filterd.vmdk;

import java.time.Instant;
import java.time.format.DateTimeParseException;
import java.util.Optional;
import java.util.regex.Pattern;

/**
 * The name of a snapshot and when it was taken. Stands in the descriptor of the link that was put
 * on top then ({@code ddb.filterd.snapshot.name} and {@code .time}), so that making that link makes
 * the snapshot; what it names is the state of the parent.
 *
 * @param name 1 to 80 characters, none of them a quote or a control character
 * @param time when it was taken, to the second
 */
public record SnapshotRecord(String name, Instant time) {
  private static final String NAME_KEY = "filterd.snapshot.name";
  private static final String TIME_KEY = "filterd.snapshot.time";
  private static final Pattern NAME = Pattern.compile("[^\"\\p{Cntrl}]{1,80}");

  /** Checks the rules of the parameters. */
  public SnapshotRecord {
    if (!NAME.matcher(name).matches() || !name.strip().equals(name)) {
      throw new IllegalArgumentException(
          "name: "
              + name.length()
              + " characters (expected: 1..80, no quotes, no blanks at an end)");
    }
    time = Instant.ofEpochSecond(time.getEpochSecond());
  }

  /** What the descriptor of a child says of its parent's state; empty if that has no name. */
  static Optional<SnapshotRecord> from(Descriptor child) throws FormatException {
    Optional<String> name = child.ddb(NAME_KEY);
    if (name.isEmpty()) {
      return Optional.empty();
    }
    String time = child.ddb(TIME_KEY).orElse("none");
    try {
      return Optional.of(new SnapshotRecord(name.get(), Instant.parse(time)));
    } catch (DateTimeParseException wrong) {
      throw child.badDdb(TIME_KEY, time, "a time such as 2026-01-31T12:00:00Z");
    } catch (IllegalArgumentException wrong) {
      throw child.badDdb(NAME_KEY, name.get(), "1..80 characters without quotes");
    }
  }

  /** {@code child} with this, whatever it said before. */
  Descriptor writeTo(Descriptor child) {
    return child.withDdb(NAME_KEY, name).withDdb(TIME_KEY, time.toString());
  }

  /** {@code child} without a word of a snapshot. */
  static Descriptor removeFrom(Descriptor child) {
    return child.withoutDdb(NAME_KEY).withoutDdb(TIME_KEY);
  }
}
