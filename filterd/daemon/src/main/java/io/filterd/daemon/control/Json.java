package io.filterd.daemon.control;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;

/** The one JSON dialect of filterd: strict in, no nulls out. */
public final class Json {
  /** Safe for many threads. */
  public static final ObjectMapper MAPPER =
      JsonMapper.builder()
          .enable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
          .enable(DeserializationFeature.FAIL_ON_NULL_FOR_PRIMITIVES)
          .disable(com.fasterxml.jackson.core.JsonGenerator.Feature.AUTO_CLOSE_TARGET)
          .defaultPropertyInclusion(
              JsonInclude.Value.construct(JsonInclude.Include.NON_NULL, JsonInclude.Include.ALWAYS))
          .build();

  private Json() {}

  /** The bytes of a value. */
  public static byte[] bytes(Object value) {
    try {
      return MAPPER.writeValueAsBytes(value);
    } catch (JsonProcessingException bug) {
      throw new IllegalStateException(bug);
    }
  }

  /**
   * Reads a value of ours that is not null.
   *
   * @throws IOException with what is wrong, in a line
   */
  public static <T> T parse(byte[] bytes, Class<T> type) throws IOException {
    T value;
    try {
      value = MAPPER.readValue(bytes, type);
    } catch (JsonProcessingException damage) {
      String message = damage.getOriginalMessage();
      throw new IOException(message.lines().findFirst().orElse(message), damage);
    }
    if (value == null) {
      throw new IOException("null (expected: an object)");
    }
    return value;
  }
}
