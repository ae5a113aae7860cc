package io.filterd.daemon.cli;

import io.filterd.policy.yaml.Quantities;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/** Reads sizes such as {@code 20GiB}. */
final class SizeConverter implements ITypeConverter<Long> {
  @Override
  public Long convert(String text) {
    return Quantities.bytes(text)
        .orElseThrow(
            () ->
                new TypeConversionException(
                    "'" + text + "' (expected: a number with B, KiB, MiB, GiB or TiB)"));
  }
}
