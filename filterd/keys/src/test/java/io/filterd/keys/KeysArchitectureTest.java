package io.filterd.keys;

import static com.tngtech.archunit.base.DescribedPredicate.describe;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import java.util.List;
import java.util.Random;
import java.util.SplittableRandom;
import java.util.concurrent.ThreadLocalRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What may depend on what inside this module, where Maven cannot say it. */
class KeysArchitectureTest {
  private static final JavaClasses CLASSES =
      new ClassFileImporter()
          .withImportOption(new ImportOption.DoNotIncludeTests())
          .importPackages("io.filterd.keys");

  @Test
  void onlyTheCacheKnowsChronicle() {
    noClasses()
        .that()
        .resideOutsideOfPackage("io.filterd.keys.chronicle")
        .should()
        .dependOnClassesThat()
        .resideInAPackage("net.openhft..")
        .check(CLASSES);
  }

  @Test
  void theCacheNeverKeepsAMapInAFile() {
    noClasses()
        .should()
        .callMethodWhere(
            describe(
                "opens a map in a file",
                call ->
                    call.getTargetOwner().getPackageName().startsWith("net.openhft")
                        && call.getName().matches("(create|recover).*PersistedTo")))
        .check(CLASSES);
  }

  @Test
  void onlyArgon2AndHmacNeedBouncyCastle() {
    noClasses()
        .that()
        .doNotHaveFullyQualifiedName(SealedKey.class.getName())
        .and()
        .doNotHaveFullyQualifiedName(HmacSha256.class.getName())
        .should()
        .dependOnClassesThat()
        .resideInAPackage("org.bouncycastle..")
        .check(CLASSES);
  }

  @Test
  void nothingIsRandomButWhatIsSecure() {
    // SecureRandom is a Random by inheritance: naming the class is what is forbidden.
    for (Class<?> type : List.of(Random.class, ThreadLocalRandom.class, SplittableRandom.class)) {
      noClasses()
          .should()
          .callCodeUnitWhere(
              describe("are of " + type, call -> call.getTargetOwner().isEquivalentTo(type)))
          .check(CLASSES);
    }
    noClasses().should().callMethod(Math.class, "random").check(CLASSES);
  }

  @Test
  void packagesAreFreeOfCycles() {
    slices().matching("io.filterd.(**)").should().beFreeOfCycles().check(CLASSES);
  }

  // With the first there would be telemetry, with the others a compiler at run time.
  @ParameterizedTest
  @ValueSource(
      strings = {
        "net.openhft.chronicle.analytics.Analytics",
        "net.openhft.chronicle.values.Values",
        "net.openhft.compiler.CompilerUtils"
      })
  void theseAreNotThere(String className) {
    assertThatThrownBy(() -> Class.forName(className)).isInstanceOf(ClassNotFoundException.class);
    assertThat(CLASSES).isNotEmpty();
  }
}
