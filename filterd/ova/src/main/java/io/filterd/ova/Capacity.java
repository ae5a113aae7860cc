package io.filterd.ova;

import java.util.OptionalLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Sizes of disks in envelopes: a number, and a unit by DSP0004 like {@code byte * 2^30}. */
final class Capacity {
  private static final Pattern NUMBER = Pattern.compile("[0-9]{1,19}");
  private static final Pattern UNIT =
      Pattern.compile("(?i)bytes?(?:\\s*\\*\\s*(2|10)\\s*\\^\\s*([0-9]{1,2}))?");
  private static final long LIMIT_BYTES = 1L << 60;

  private Capacity() {}

  /** The size in bytes; none if it is nothing of that form, 0, or more than 1 EiB. */
  static OptionalLong bytes(String number, String unit) {
    Matcher units = UNIT.matcher(unit.strip());
    if (!NUMBER.matcher(number.strip()).matches() || !units.matches()) {
      return OptionalLong.empty();
    }
    try {
      long bytes = Long.parseLong(number.strip());
      if (units.group(1) != null) {
        long base = Long.parseLong(units.group(1));
        int exponent = Integer.parseInt(units.group(2));
        bytes = Math.multiplyExact(bytes, Math.powExact(base, exponent));
      }
      return bytes > 0 && bytes <= LIMIT_BYTES ? OptionalLong.of(bytes) : OptionalLong.empty();
    } catch (ArithmeticException | NumberFormatException tooLarge) {
      return OptionalLong.empty();
    }
  }
}
