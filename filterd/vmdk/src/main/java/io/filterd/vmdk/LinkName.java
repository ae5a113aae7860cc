package io.filterd.vmdk;

import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The names of the files of links, as VMware gives them: NAME.vmdk, then NAME-000001.vmdk. */
final class LinkName {
  private static final Pattern NUMBERED = Pattern.compile("(.+?)-(\\d{6})");
  private static final Pattern PLAIN = Pattern.compile("[^\"\\p{Cntrl}]+");
  private static final String ENDING = ".vmdk";
  private static final int LAST_NUMBER = 999_999;

  private LinkName() {}

  /** The next free name for a link over {@code parent}, in its folder. */
  static Path next(Path parent) throws FormatException {
    String name = String.valueOf(parent.getFileName());
    if (!PLAIN.matcher(name).matches()) {
      throw new FormatException(
          parent.toString(), 0, "file name", name, "no quotes and no control characters");
    }
    String base = name.endsWith(ENDING) ? name.substring(0, name.length() - ENDING.length()) : name;
    Matcher numbered = NUMBERED.matcher(base);
    int number = 1;
    if (numbered.matches()) {
      base = numbered.group(1);
      number = Integer.parseInt(numbered.group(2)) + 1;
    }
    for (; number <= LAST_NUMBER; number++) {
      Path next = parent.resolveSibling("%s-%06d%s".formatted(base, number, ENDING));
      if (!Files.exists(next, LinkOption.NOFOLLOW_LINKS)) {
        return next;
      }
    }
    throw new FormatException(
        parent.toString(), 0, "file name", name, "a free number up to " + LAST_NUMBER);
  }
}
