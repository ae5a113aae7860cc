package io.filterd.daemon;

import static io.filterd.daemon.RunningFilterd.tool;
import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.daemon.control.ControlClient;
import io.filterd.daemon.control.Operation;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.Progress;
import io.filterd.daemon.control.Requests;
import io.filterd.daemon.control.Results;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestInstance.Lifecycle;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Disks come and go as streams and packages, between others' programs and encrypted disks. */
@TestInstance(Lifecycle.PER_CLASS)
class VmPackageIT {
  private static final String CIM = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/";
  private static final int DISK_BYTES = 6 << 20;

  private Path folder;
  private Path first;
  private Path second;
  private Path stream;
  private RunningFilterd running;

  @BeforeAll
  void serve(@TempDir Path folder) throws Exception {
    this.folder = folder;
    first = content("first.raw", 1);
    second = content("second.raw", 2);
    stream = folder.resolve("first.vmdk");
    tool(
        "qemu-img",
        "convert",
        "-f",
        "raw",
        "-O",
        "vmdk",
        "-o",
        "subformat=streamOptimized",
        first.toString(),
        stream.toString());
    RunningFilterd.configure(folder, 0);
    assertThat(RunningFilterd.filterd(folder, "provider", "init").exitCode()).isZero();
    running = RunningFilterd.start(folder);
  }

  @AfterAll
  void stop() {
    running.close();
  }

  private Path content(String name, int seed) throws IOException {
    byte[] content = new byte[DISK_BYTES];
    byte[] noise = new byte[DISK_BYTES / 3];
    new Random(seed).nextBytes(noise);
    System.arraycopy(noise, 0, content, 1 << 20, noise.length);
    return Files.write(folder.resolve(name), content);
  }

  private <A, R> R call(Operation<A, R> operation, A arguments) throws OperationException {
    return new ControlClient(folder.resolve("control.sock"))
        .call(operation, arguments, Progress.NONE);
  }

  private void importRaw(Path source, String name) throws OperationException {
    call(
        Operation.DISK_IMPORT,
        new Requests.ImportDisk(name, source.toString(), "raw", "encrypted", null, false));
  }

  /** Attaches a disk, which holds ciphertext, and compares it with a raw file. */
  private void compareServed(String name, Path raw) throws Exception {
    Results.DiskDetails details = call(Operation.DISK_INFO, new Requests.Disk(name));
    assertThat(details.disk().encrypted()).isTrue();
    call(Operation.DISK_ATTACH, new Requests.AttachDisk(name, null));
    tool("qemu-img", "compare", "-f", "raw", "-F", "raw", raw.toString(), running.uri(name));
    call(Operation.DISK_DETACH, new Requests.Disk(name));
  }

  @Test
  void anEncryptedDiskIsMadeOutOfAStreamAndTheReverse() throws Exception {
    running.filterd("disk", "import", stream.toString(), "streams/disk0", "-p", "encrypted");
    compareServed("streams/disk0", first);

    Path back = folder.resolve("back.vmdk");
    String said =
        running.filterd("disk", "export", "streams/disk0", back.toString(), "-F", "stream");
    assertThat(said).contains("in the clear");
    assertThat(tool("qemu-img", "info", "-f", "vmdk", back.toString())).contains("streamOptimized");
    tool("qemu-img", "compare", "-f", "vmdk", "-F", "raw", back.toString(), first.toString());
    for (String word : List.of("streamOptimized", "monolithicSparse")) {
      Path other = folder.resolve(word + ".vmdk");
      call(Operation.DISK_EXPORT, new Requests.ExportDisk("streams/disk0", other.toString(), word));
      assertThat(tool("qemu-img", "info", "-f", "vmdk", other.toString())).contains(word);
    }
    RunningFilterd.Result refused =
        RunningFilterd.filterd(
            folder, "disk", "export", "streams/disk0", "x.vmdk", "--format", "qcow2");
    assertThat(refused.exitCode()).isEqualTo(2);
    assertThat(refused.output()).startsWith("filterd: format: qcow2 (expected: one of vmdk, ");
  }

  @Test
  void aVmGoesIntoAPackageAndComesBackUnderAnotherName() throws Exception {
    importRaw(first, "web/disk2");
    importRaw(second, "web/disk10");
    call(Operation.DISK_ATTACH, new Requests.AttachDisk("web/disk2", null));
    Path ova = folder.resolve("web.ova");

    assertThat(running.filterd("vm", "export", "web", ova.toString()))
        .contains("Exported 2 disks of web to " + ova, "in the clear");

    call(Operation.DISK_DETACH, new Requests.Disk("web/disk2"));
    assertThat(tool("tar", "tf", ova.toString()).lines())
        .containsExactly("web.ovf", "web.mf", "web-disk2.vmdk", "web-disk10.vmdk");
    assertThat(running.filterd("vm", "import", ova.toString(), "--vm", "web2", "-p", "encrypted"))
        .contains("which is as its manifest says", "web2/disk0", "web2/disk1");
    compareServed("web2/disk0", first);
    compareServed("web2/disk1", second);
    assertThat(running.filterd("vm", "list")).contains("web2 ", "web2/disk0 web2/disk1");
    assertThat(running.filterd("vm", "list", "--json")).contains("\"name\" : \"web2\"");

    refused(4, "exists already", "vm", "export", "web", ova.toString());
    refused(4, "exists already", "vm", "import", ova.toString(), "--vm", "web", "-p", "encrypted");
    refused(3, "no VM none", "vm", "export", "none", folder.resolve("none.ova").toString());
  }

  private void refused(int exitCode, String message, String... arguments) throws IOException {
    RunningFilterd.Result result = RunningFilterd.filterd(folder, arguments);
    assertThat(result.output()).startsWith("filterd: ").contains(message).hasLineCount(1);
    assertThat(result.exitCode()).isEqualTo(exitCode);
  }

  /** As VMware's ovftool writes it: attributes with a prefix, elements without. */
  private static String vmware(String reference) {
    return """
    <?xml version="1.0" encoding="UTF-8"?>
    <!--Generated by a tool-->
    <Envelope vmw:buildId="build-1" xmlns="http://schemas.dmtf.org/ovf/envelope/1" \
    xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="%sCIM_ResourceAllocationSettingData" \
    xmlns:vmw="http://www.vmware.com/schema/ovf">
      <References><File ovf:href="%s" ovf:id="file1"/></References>
      <DiskSection>
        <Info>Virtual disk information</Info>
        <Disk ovf:capacity="6" ovf:capacityAllocationUnits="byte * 2^20" ovf:diskId="vmdisk1" \
    ovf:fileRef="file1" ovf:populatedSize="1" \
    ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
        <Disk ovf:capacity="1" ovf:capacityAllocationUnits="byte * 2^30" ovf:diskId="vmdisk2" \
    ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
      </DiskSection>
      <VirtualSystem ovf:id="vm">
        <Info>A virtual machine</Info>
        <Name>Web server</Name>
        <VirtualHardwareSection>
          <Info>Virtual hardware requirements</Info>
          <Item><rasd:InstanceID>3</rasd:InstanceID>
            <rasd:ResourceSubType>lsilogic</rasd:ResourceSubType><rasd:ResourceType>6</rasd:ResourceType></Item>
          <Item><rasd:HostResource>ovf:/disk/vmdisk1</rasd:HostResource>
            <rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>
          <Item ovf:required="false"><rasd:HostResource>ovf:/disk/vmdisk2</rasd:HostResource>
            <rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType>
            <vmw:Config ovf:required="false" vmw:key="backing.writeThrough" vmw:value="false"/></Item>
        </VirtualHardwareSection>
      </VirtualSystem>
    </Envelope>
    """
        .formatted(CIM, reference);
  }

  /** As VirtualBox writes OVF 1: no unit, no size, a path without a scheme. */
  private static String virtualBox(String reference) {
    return """
    <?xml version="1.0"?>
    <Envelope ovf:version="1.0" xml:lang="en-US" xmlns="http://schemas.dmtf.org/ovf/envelope/1" \
    xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="%sCIM_ResourceAllocationSettingData" \
    xmlns:vbox="http://www.virtualbox.org/ovf/machine">
      <References><File ovf:id="file1" ovf:href="%s"/></References>
      <DiskSection><Info>List of the virtual disks</Info>
        <Disk ovf:capacity="6291456" ovf:diskId="vmdisk1" ovf:fileRef="file1" \
    ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized" \
    vbox:uuid="6a1c9a3e-0000-4000-8000-000000000001"/></DiskSection>
      <VirtualSystem ovf:id="vm"><Info>A virtual machine</Info>
        <VirtualHardwareSection><Info>Virtual hardware</Info>
          <Item><rasd:Caption>disk</rasd:Caption><rasd:HostResource>/disk/vmdisk1</rasd:HostResource>
            <rasd:ResourceType>17</rasd:ResourceType></Item>
        </VirtualHardwareSection>
        <vbox:Machine ovf:required="false" name="vm"><ovf:Info>More</ovf:Info></vbox:Machine>
      </VirtualSystem>
    </Envelope>
    """
        .formatted(CIM, reference);
  }

  /** As VirtualBox writes OVF 2: another namespace, and items of another kind for storage. */
  private static String ovf2(String reference) {
    return virtualBox(reference)
        .replace("ovf/envelope/1", "ovf/envelope/2")
        .replace("ovf:version=\"1.0\"", "ovf:version=\"2.0\"")
        .replace("<Item>", "<StorageItem>")
        .replace("</Item>", "</StorageItem>")
        .replace("CIM_ResourceAllocationSettingData", "CIM_StorageAllocationSettingData.xsd");
  }

  private static String envelope(String dialect, String reference) {
    return switch (dialect) {
      case "vmware" -> vmware(reference);
      case "virtualbox" -> virtualBox(reference);
      default -> ovf2(reference);
    };
  }

  /** A folder with an envelope, the stream that qemu-img made, and a manifest by openssl. */
  private Path packageFolder(String name, String envelope) throws IOException {
    Path made = Files.createDirectory(folder.resolve(name));
    Files.writeString(made.resolve("vm.ovf"), envelope);
    Files.copy(stream, made.resolve("vm-disk1.vmdk"));
    String script = "cd " + made + " && openssl sha256 vm.ovf vm-disk1.vmdk > vm.mf";
    tool("sh", "-c", script);
    // openssl calls it SHA2-256 since its version 3.
    Path manifest = made.resolve("vm.mf");
    Files.writeString(manifest, Files.readString(manifest).replace("SHA2-256", "SHA256"));
    return made;
  }

  private Path archive(String name, Path of, String... files) throws IOException {
    Path ova = folder.resolve(name);
    String script =
        "cd " + of + " && tar --format=ustar -cf " + ova + " " + String.join(" ", files);
    tool("sh", "-c", script);
    return ova;
  }

  @ParameterizedTest
  @ValueSource(strings = {"vmware", "virtualbox", "ovf2"})
  void packagesOfOthersAreImported(String dialect) throws Exception {
    Path made = packageFolder(dialect, envelope(dialect, "vm-disk1.vmdk"));
    Path ova = archive(dialect + ".ova", made, "vm.ovf", "vm.mf", "vm-disk1.vmdk");

    Results.ImportedVm imported = call(Operation.VM_IMPORT, importOf(ova, dialect));
    assertThat(imported.verified()).isTrue();
    compareServed(dialect + "/disk0", first);
    if (dialect.equals("vmware")) {
      assertThat(imported.disks()).hasSize(2);
      assertThat(imported.disks().get(1).sizeBytes()).isEqualTo(1L << 30);
    }
    Requests.ImportVm unpacked = importOf(made.resolve("vm.ovf"), dialect + "-folder");
    assertThat(call(Operation.VM_IMPORT, unpacked).verified()).isTrue();
    compareServed(dialect + "-folder/disk0", first);
  }

  private static Requests.ImportVm importOf(Path source, String vm) {
    return new Requests.ImportVm(source.toString(), vm, "encrypted", false);
  }

  /** What is done to a good package, by the shell in its folder, and what is then said. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "printf x | dd of=vm-disk1.vmdk bs=1 seek=70000 conv=notrunc | vm.ovf vm.mf vm-disk1.vmdk"
            + " | as the manifest says",
        "sed -i s,/disk/vmdisk1,/disk/none, vm.ovf | true | vm.ovf vm-disk1.vmdk | disk none",
        "sed -i s/.*vmdk.*// vm.mf | true | vm.ovf vm.mf vm-disk1.vmdk | nothing about vm-disk1",
        "rm vm-disk1.vmdk; ln -s /etc/passwd vm-disk1.vmdk | true | vm.ovf vm.mf vm-disk1.vmdk"
            + " | plain files only",
        "rm vm.mf; head -c 100000 vm-disk1.vmdk > x; mv x vm-disk1.vmdk | true"
            + " | vm.ovf vm-disk1.vmdk | vm-disk1.vmdk: ",
        "rm vm.mf; head -c 100000 /dev/urandom > vm-disk1.vmdk | true | vm.ovf vm-disk1.vmdk |"
            + " magic",
        "true | true | vm.ovf vm.mf | no file vm-disk1.vmdk",
        "true | true | vm.mf vm-disk1.vmdk | 0 .ovf files",
        "true | true | -P vm.ovf ../second.raw | second.raw",
        "true | true | -P vm.ovf /etc/hostname | /etc/hostname",
        "mkdir d | true | vm.ovf vm.mf d | plain files only",
        "truncate -s 100M hole; rm vm.mf | true | --format=gnu -S vm.ovf hole | plain files only",
        "rm vm.mf; sed -i 's/<References>/<!DOCTYPE a>&/' vm.ovf | true | vm.ovf vm-disk1.vmdk"
            + " | XML: ",
      })
  void hostilePackagesAreRefusedAndLeaveNothing(
      String first, String then, String files, String message) throws Exception {
    Path made = Files.createTempDirectory(folder, "hostile");
    Files.delete(made);
    packageFolder(String.valueOf(made.getFileName()), vmware("vm-disk1.vmdk"));
    String piped = then.equals("true") ? first : first + " | " + then;
    tool("sh", "-c", "cd " + made + " && " + piped);
    Path ova = archive(made.getFileName() + ".ova", made, files);

    RunningFilterd.Result refused =
        RunningFilterd.filterd(
            folder, "vm", "import", ova.toString(), "--vm", "hostile", "-p", "encrypted");

    assertThat(refused.output()).startsWith("filterd: ").contains(message).hasLineCount(1);
    // A grain that is cut off is noticed when it is read.
    assertThat(refused.exitCode()).isIn(6, 7);
    assertThat(folder.resolve("disks/hostile")).doesNotExist();
    assertThat(call(Operation.DISK_LIST, new Requests.None()).disks())
        .noneMatch(disk -> disk.name().startsWith("hostile/"));
  }

  @Test
  void aPackageWhoseLastDiskIsDamagedLeavesNothing() throws Exception {
    String twice =
        vmware("vm-disk1.vmdk")
            .replace("<Disk ovf:capacity=\"1\"", "<Disk ovf:fileRef=\"file2\" ovf:capacity=\"1\"")
            .replace("</References>", "<File ovf:id=\"file2\" ovf:href=\"b.vmdk\"/></References>");
    Path made = packageFolder("half", twice);
    byte[] damaged = Files.readAllBytes(stream);
    Arrays.fill(damaged, damaged.length / 2, damaged.length / 2 + 70_000, (byte) 0x55);
    Files.write(made.resolve("b.vmdk"), damaged);
    Path ova = archive("half.ova", made, "vm.ovf", "vm-disk1.vmdk", "b.vmdk");

    RunningFilterd.Result refused =
        RunningFilterd.filterd(
            folder, "vm", "import", ova.toString(), "--vm", "half", "-p", "encrypted");

    assertThat(refused.output()).startsWith("filterd: ").contains("b.vmdk").hasLineCount(1);
    assertThat(refused.exitCode()).isNotZero();
    try (Stream<Path> disks = Files.list(folder.resolve("disks"))) {
      assertThat(disks).noneMatch(disk -> disk.endsWith("half"));
    }
    assertThat(Files.readString(folder.resolve("inventory.json"), StandardCharsets.UTF_8))
        .doesNotContain("half/");
  }
}
