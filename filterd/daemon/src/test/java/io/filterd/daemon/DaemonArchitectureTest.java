package io.filterd.daemon;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.library.dependencies.SlicesRuleDefinition;
import org.junit.jupiter.api.Test;

/** What may depend on what inside this module, where Maven cannot say it. */
class DaemonArchitectureTest {
  private static final JavaClasses CLASSES =
      new ClassFileImporter()
          .withImportOption(new ImportOption.DoNotIncludeTests())
          .importPackages("io.filterd.daemon");

  @Test
  void onlyTheCommandLineKnowsPicocli() {
    noClasses()
        .that()
        .resideOutsideOfPackage("io.filterd.daemon.cli")
        .should()
        .dependOnClassesThat()
        .resideInAPackage("picocli..")
        .check(CLASSES);
  }

  @Test
  void nothingDependsOnTheCommandLine() {
    noClasses()
        .that()
        .resideOutsideOfPackage("io.filterd.daemon.cli")
        .should()
        .dependOnClassesThat()
        .resideInAPackage("io.filterd.daemon.cli")
        .check(CLASSES);
  }

  @Test
  void onlyTheControlSocketAndTheCommandLineKnowJson() {
    noClasses()
        .that()
        .resideOutsideOfPackages("io.filterd.daemon.control", "io.filterd.daemon.cli")
        .should()
        .dependOnClassesThat()
        .resideInAPackage("com.fasterxml..")
        .check(CLASSES);
  }

  @Test
  void theControlSocketKnowsNothingOfWhatAnswers() {
    noClasses()
        .that()
        .resideInAPackage("io.filterd.daemon.control")
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage(
            "io.filterd.daemon",
            "io.filterd.block..",
            "io.filterd.crypto..",
            "io.filterd.keys..",
            "io.filterd.nbd..",
            "io.filterd.ova..",
            "io.filterd.policy..",
            "io.filterd.vmdk..")
        .check(CLASSES);
  }

  @Test
  void nothingSeesThroughTheLibrariesToWhatTheyAreMadeOf() {
    noClasses()
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage(
            "io.netty..", "net.openhft..", "org.bouncycastle..", "org.snakeyaml..", "org.apache..")
        .check(CLASSES);
  }

  @Test
  void hasNoCycles() {
    SlicesRuleDefinition.slices()
        .matching("io.filterd.(**)")
        .should()
        .beFreeOfCycles()
        .check(CLASSES);
  }
}
