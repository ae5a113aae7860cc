package io.filterd.crypto;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import org.junit.jupiter.api.Test;

class XtsEnginesTest {
  @Test
  void choosesTheFastestThatKeepsKeysOffTheHeap() {
    XtsEngine engine = XtsEngines.byName(XtsEngines.AUTO);

    assertThat(engine.name()).isEqualTo("libgcrypt");
    assertThat(engine.keepsKeysOffHeap()).isTrue();
  }

  @Test
  void findsEveryEngineByItsName() {
    assertThat(XtsEngines.available()).containsExactly("libgcrypt", "openssl", "portable");
    for (String name : XtsEngines.names()) {
      assertThat(XtsEngines.byName(name).name()).isEqualTo(name);
    }
    assertThat(XtsEngines.byName("openssl").keepsKeysOffHeap()).isTrue();
    assertThat(XtsEngines.byName("portable").keepsKeysOffHeap()).isFalse();
  }

  @Test
  void listsWhatIsThereWhenAskedForSomethingElse() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> XtsEngines.byName("rot13"))
        .withMessage(
            "engine: rot13 (expected: auto, or one of those here: libgcrypt, openssl, portable)");
  }

  @Test
  void knowsItsLibrariesByTheirVersions() {
    assertThat(LibCrypto.system().version()).startsWith("OpenSSL ");
    assertThat(LibGcrypt.system().version()).matches("1\\.\\d+\\.\\d+.*");
  }
}
