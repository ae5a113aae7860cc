package io.filterd.kmip;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import org.junit.jupiter.api.Test;

/** Which part may use which. */
class KmipArchitectureTest {
  private static final JavaClasses MAIN =
      new ClassFileImporter()
          .withImportOption(new ImportOption.DoNotIncludeTests())
          .importPackages("io.filterd.kmip");

  @Test
  void onlyCertificatesNeedBouncyCastle() {
    noClasses()
        .that()
        .resideOutsideOfPackage("io.filterd.kmip.cert")
        .should()
        .dependOnClassesThat()
        .resideInAPackage("org.bouncycastle..")
        .check(MAIN);
  }

  @Test
  void messagesKnowNothingOfConnections() {
    classes()
        .that()
        .resideInAnyPackage("io.filterd.kmip", "io.filterd.kmip.ttlv")
        .should()
        .onlyDependOnClassesThat()
        .resideInAnyPackage("io.filterd.kmip", "io.filterd.kmip.ttlv", "java..", "org.jspecify..")
        .check(MAIN);
  }

  @Test
  void connectionsKnowNothingOfMessages() {
    classes()
        .that()
        .resideInAPackage("io.filterd.kmip.net")
        .should()
        .onlyDependOnClassesThat()
        .resideInAnyPackage(
            "io.filterd.kmip.net",
            "io.filterd.kmip.cert",
            "io.filterd.kmip.ttlv",
            "java..",
            "javax.net.ssl..",
            "javax.security.auth.x500",
            "org.jspecify..",
            "com.google.errorprone.annotations..")
        .check(MAIN);
  }
}
