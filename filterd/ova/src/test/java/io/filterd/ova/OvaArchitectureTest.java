package io.filterd.ova;

import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import org.junit.jupiter.api.Test;

/** What may depend on what inside this module, where Maven cannot say it. */
class OvaArchitectureTest {
  private static final JavaClasses CLASSES =
      new ClassFileImporter()
          .withImportOption(new ImportOption.DoNotIncludeTests())
          .importPackages("io.filterd.ova");

  @Test
  void onlyTheTarClassesKnowTheLibraryForTars() {
    noClasses()
        .that()
        .doNotHaveSimpleName("TarIndex")
        .and()
        .haveSimpleNameNotStartingWith("Limited")
        .and()
        .doNotHaveSimpleName("OvaWriter")
        .should()
        .dependOnClassesThat(resideInAPackage("org.apache.."))
        .check(CLASSES);
  }

  @Test
  void theEnvelopesParserIsTheJdksOwn() {
    noClasses()
        .that()
        .doNotHaveSimpleName("EnvelopeReader")
        .should()
        .dependOnClassesThat(resideInAPackage("javax.xml..").or(resideInAPackage("org.w3c..")))
        .check(CLASSES);
  }
}
