package io.filterd.nbd;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import org.junit.jupiter.api.Test;

/** What may depend on what inside this module, where Maven cannot say it. */
class NbdArchitectureTest {
  private static final JavaClasses CLASSES =
      new ClassFileImporter()
          .withImportOption(new ImportOption.DoNotIncludeTests())
          .importPackages("io.filterd.nbd");

  @Test
  void servesDevicesAndKnowsNoneOfThem() {
    noClasses()
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage("io.filterd.block.file..", "io.filterd.filter..")
        .check(CLASSES);
    noClasses().should().dependOnClassesThat().haveSimpleName("MemoryDevice").check(CLASSES);
  }

  @Test
  void knowsTheLayoutsWithoutTheServer() {
    noClasses()
        .that()
        .resideInAPackage("io.filterd.nbd.wire")
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage("io.filterd.nbd", "io.filterd.block..", "io.netty.channel..")
        .check(CLASSES);
  }

  @Test
  void keepsTheLibrariesOfTlsInOnePlace() {
    noClasses()
        .that()
        .resideOutsideOfPackage("io.filterd.nbd.tls")
        .should()
        .dependOnClassesThat()
        .resideInAPackage("org.bouncycastle..")
        .check(CLASSES);
    noClasses()
        .that()
        .resideInAPackage("io.filterd.nbd.tls")
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage("io.filterd.nbd", "io.filterd.nbd.wire", "io.filterd.block..")
        .check(CLASSES);
  }

  @Test
  void hasOneDoor() {
    classes()
        .that()
        .resideInAPackage("io.filterd.nbd")
        .and()
        .arePublic()
        .and()
        .areTopLevelClasses()
        .should()
        .haveNameMatching(
            ".*\\.(NbdServer|NbdServerConfig|Listener|Exports|MetaContext|Client|ConnectionInfo"
                + "|CommandFigures|Tls|TlsRequiredException|NoAccessException)")
        .check(CLASSES);
  }
}
