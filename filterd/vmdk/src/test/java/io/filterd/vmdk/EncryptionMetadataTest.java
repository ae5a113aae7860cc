package io.filterd.vmdk;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class EncryptionMetadataTest {
  static final Locker LOCKER =
      new Locker(
          "native", "a key, of = 100 % Ümlaut", "0123456789abcdef", "AES-256-GCM", "AAECAw==");
  static final EncryptionMetadata METADATA =
      EncryptionMetadata.of(
          4096,
          "0b0f5c5e-0000-4000-8000-00000000000a",
          "0b0f5c5e-0000-4000-8000-00000000000b",
          LOCKER);

  private static Descriptor plain() throws FormatException {
    String text = TestDisks.descriptor("monolithicSparse", "RW 2048 SPARSE \"disk.vmdk\"");
    return Descriptor.parse("d.vmdk", 512, text.getBytes(UTF_8));
  }

  @Test
  void readsWhatItWrote() throws FormatException {
    Descriptor written = METADATA.writeTo(plain());
    Descriptor read = Descriptor.parse("d.vmdk", 512, written.format());

    assertThat(EncryptionMetadata.from(read)).hasValue(METADATA);
    assertThat(EncryptionMetadata.from(plain())).isEmpty();
    assertThat(EncryptionMetadata.removeFrom(read).format()).isEqualTo(plain().format());
  }

  @Test
  void writesTheEntriesThatOthersRead() throws FormatException {
    String text = new String(METADATA.writeTo(plain()).format(), UTF_8);

    assertThat(text)
        .endsWith(
            """
            ddb.filterd.version = "1"
            ddb.filterd.cipher = "aes-256-xts"
            ddb.filterd.unitBytes = "4096"
            ddb.filterd.diskId = "0b0f5c5e-0000-4000-8000-00000000000a"
            ddb.filterd.linkId = "0b0f5c5e-0000-4000-8000-00000000000b"
            ddb.filterd.keySafe.0 = "provider=native,keyId=a%20key%2C%20of%20%3D%20100%20%25%20%C3%9C\
            mlaut,checkValue=0123456789abcdef,algorithm=AES-256-GCM,wrappedDek=AAECAw=="
            """);
  }

  @Test
  void holdsTwoLockersDuringARewrap() throws FormatException {
    Locker next = new Locker("kmip", "1", "fedcba9876543210", "AES-256-GCM", "BBBB");
    EncryptionMetadata both = METADATA.withKeySafe(List.of(next, LOCKER));
    Descriptor descriptor = both.writeTo(METADATA.writeTo(plain()));

    assertThat(EncryptionMetadata.from(descriptor)).hasValue(both);
    Descriptor after = METADATA.withKeySafe(List.of(next)).writeTo(descriptor);
    assertThat(EncryptionMetadata.from(after).orElseThrow().keySafe()).containsExactly(next);
    assertThat(after.ddb("filterd.keySafe.1")).isEmpty();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      nullValues = "none",
      value = {
        "version| 2| ddb.filterd.version",
        "version| none| ddb.filterd.version",
        "cipher| aes-128-xts| ddb.filterd.cipher",
        "cipher| none| ddb.filterd.cipher",
        "unitBytes| 1024| ddb.filterd.unitBytes",
        "unitBytes| 04096| ddb.filterd.unitBytes",
        "diskId| x| ddb.filterd.diskId",
        "diskId| 0B0F5C5E-0000-4000-8000-00000000000A| ddb.filterd.diskId",
        "linkId| none| ddb.filterd.linkId",
        "keySafe.0| none| ddb.filterd.keySafe.0",
        "keySafe.2| x| ddb.filterd.keySafe.1",
        "keySafe.0| provider=a,keyId=b| ddb.filterd.keySafe.0",
        "keySafe.0| keyId=a,provider=b,checkValue=0123456789abcdef,algorithm=A,wrappedDek=AAAA"
            + "| ddb.filterd.keySafe.0",
        "keySafe.0| provider=,keyId=b,checkValue=0123456789abcdef,algorithm=A,wrappedDek=AAAA"
            + "| ddb.filterd.keySafe.0",
        "keySafe.0| provider=%2,keyId=b,checkValue=0123456789abcdef,algorithm=A,wrappedDek=AAAA"
            + "| ddb.filterd.keySafe.0",
        "keySafe.0| provider=%ff,keyId=b,checkValue=0123456789abcdef,algorithm=A,wrappedDek=AAAA"
            + "| ddb.filterd.keySafe.0",
        "keySafe.0| provider=%00,keyId=b,checkValue=0123456789abcdef,algorithm=A,wrappedDek=AAAA"
            + "| ddb.filterd.keySafe.0",
        "keySafe.0| provider=a,keyId=b,checkValue=0123456789ABCDEF,algorithm=A,wrappedDek=AAAA"
            + "| ddb.filterd.keySafe.0",
        "keySafe.0| provider=a,keyId=b,checkValue=0123456789abcdef,algorithm=A b,wrappedDek=AAAA"
            + "| ddb.filterd.keySafe.0",
        "keySafe.0| provider=a,keyId=b,checkValue=0123456789abcdef,algorithm=A,wrappedDek=AAA"
            + "| ddb.filterd.keySafe.0",
        "keySafe.0| provider=a,keyId=b,checkValue=0123456789abcdef,algorithm=A,wrappedDek=AB=="
            + "| ddb.filterd.keySafe.0",
        "keySafe.0| provider=a,keyId=b,checkValue=0123456789abcdef,algorithm=A,wrappedDek=AAAA,x=y"
            + "| ddb.filterd.keySafe.0",
      })
  void refusesAnEntryThatIsWrong(String key, String value, String field) throws FormatException {
    Descriptor written = METADATA.writeTo(plain());
    Descriptor wrong =
        value == null
            ? written.withoutDdb("filterd." + key)
            : written.withDdb("filterd." + key, value);

    FormatException failure =
        catchThrowableOfType(FormatException.class, () -> EncryptionMetadata.from(wrong));

    assertThat(failure).isNotNull();
    assertThat(failure.field()).isEqualTo(field);
    assertThat(failure.byteOffset()).isGreaterThanOrEqualTo(512);
  }

  @Test
  void boundsAllTexts() {
    assertThatThrownBy(() -> new Locker("p", "k".repeat(1025), "0123456789abcdef", "A", "AAAA"))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> new Locker("p", "k", "0123456789abcdef", "A", "AAAA".repeat(257)))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> METADATA.withKeySafe(List.of(LOCKER, LOCKER, LOCKER)))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> METADATA.withKeySafe(List.of()))
        .isInstanceOf(IllegalArgumentException.class);
  }
}
