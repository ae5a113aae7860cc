package io.filterd.keys.chronicle;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.HashMap;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;

class DekMapTest {
  private static final int VALUE_BYTES = 92;

  @Test
  void holdsAsManyOfTheLongestKeysAsItWasMadeFor() {
    try (DekMap map = DekMap.create(1000, 64, VALUE_BYTES)) {
      for (int i = 0; i < 1000; i++) {
        map.put("k".repeat(60) + "%04d".formatted(i), value(i));
      }

      assertThat(map.longSize()).isEqualTo(1000);
      for (int i = 0; i < 1000; i++) {
        assertThat(map.get("k".repeat(60) + "%04d".formatted(i))).isEqualTo(value(i));
      }
    }
  }

  @Test
  void behavesAsAMapDoes() {
    long seed = Long.getLong("test.seed", System.nanoTime());
    Random random = new Random(seed);
    Map<String, byte[]> model = new HashMap<>();

    try (DekMap map = DekMap.create(64, 64, VALUE_BYTES)) {
      for (int step = 0; step < 20_000; step++) {
        String key = "key-" + random.nextInt(64);
        byte[] value = value(random.nextInt());
        if (random.nextInt(3) == 0) {
          assertThat(map.wipe(key))
              .as("seed %d step %d", seed, step)
              .isEqualTo(model.remove(key) != null);
        } else {
          map.put(key, value);
          model.put(key, value);
        }
        assertThat(map.get(key)).as("seed %d step %d", seed, step).isEqualTo(model.get(key));
      }
      assertThat(map.keySet()).as("seed %d", seed).isEqualTo(model.keySet());
    }
  }

  @Test
  void wipingOverwritesTheValueInTheMapsMemory() {
    try (DekMap map = DekMap.create(64, 64, VALUE_BYTES)) {
      // Not a value of another test: a new map's memory may be that of a map before it.
      byte[] value = value(-7);
      map.put("wiped", value);
      map.put("kept", value(-8));
      assertThat(memoryHolds(map, value)).isTrue();

      assertThat(map.wipe("wiped")).isTrue();

      assertThat(memoryHolds(map, value)).isFalse();
      assertThat(memoryHolds(map, value(-8))).isTrue();
      assertThat(map.wipe("wiped")).isFalse();
    }
  }

  private static byte[] value(int seed) {
    byte[] value = new byte[VALUE_BYTES];
    new Random(seed).nextBytes(value);
    return value;
  }

  private static boolean memoryHolds(DekMap map, byte[] wanted) {
    MemorySegment memory =
        MemorySegment.ofAddress(map.bsAddress()).reinterpret(map.offHeapMemoryUsed());
    MemorySegment pattern = MemorySegment.ofArray(wanted);
    for (long at = 0; at <= memory.byteSize() - wanted.length; at++) {
      if (memory.get(ValueLayout.JAVA_BYTE, at) == wanted[0]
          && memory.asSlice(at, wanted.length).mismatch(pattern) < 0) {
        return true;
      }
    }
    return false;
  }
}
