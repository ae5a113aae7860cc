package io.filterd.ova;

import java.util.List;

/** Writes envelopes (DSP0243, version 1.1) as VMware writes them. */
final class EnvelopeText {
  /** SCSI controllers that a VM can have, and disks on each; their own address is 7. */
  private static final int CONTROLLERS = 4;

  private static final int DISKS_PER_CONTROLLER = 15;
  private static final int CONTROLLER_ADDRESS = 7;

  static final int DISK_LIMIT = CONTROLLERS * DISKS_PER_CONTROLLER;

  private static final int FIRST_CONTROLLER_ID = 3;

  private EnvelopeText() {}

  /**
   * A disk of the package.
   *
   * @param fileName its file
   * @param fileBytes the size of its file
   * @param capacityBytes its own size
   */
  record Disk(String fileName, long fileBytes, long capacityBytes) {}

  /** The envelope of a VM with these disks; the name needs no escaping. */
  static String of(String vm, List<Disk> disks) {
    StringBuilder files = new StringBuilder();
    StringBuilder sections = new StringBuilder();
    StringBuilder items = new StringBuilder();
    int controllers = Math.ceilDiv(disks.size(), DISKS_PER_CONTROLLER);
    for (int i = 0; i < controllers; i++) {
      items.append(controller(i));
    }
    for (int i = 0; i < disks.size(); i++) {
      Disk disk = disks.get(i);
      files.append(
          """
              <File ovf:id="file%d" ovf:href="%s" ovf:size="%d"/>
          """
              .formatted(i + 1, disk.fileName(), disk.fileBytes()));
      sections.append(
          """
              <Disk ovf:diskId="vmdisk%d" ovf:fileRef="file%d" ovf:capacity="%d" \
          ovf:capacityAllocationUnits="byte" \
          ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
          """
              .formatted(i + 1, i + 1, disk.capacityBytes()));
      items.append(drive(i, FIRST_CONTROLLER_ID + controllers + i));
    }
    return """
    <?xml version="1.0" encoding="UTF-8"?>
    <Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" \
    xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" \
    xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" \
    xmlns:vmw="http://www.vmware.com/schema/ovf" \
    xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData">
      <References>
    %s  </References>
      <DiskSection>
        <Info>The disks of the VM</Info>
    %s  </DiskSection>
      <VirtualSystem ovf:id="%s">
        <Info>A VM of which only the disks are known: set its processors, memory and network</Info>
        <Name>%s</Name>
        <OperatingSystemSection ovf:id="1" vmw:osType="otherGuest64">
          <Info>The guest operating system</Info>
        </OperatingSystemSection>
        <VirtualHardwareSection>
          <Info>The hardware of the VM</Info>
          <System>
            <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
            <vssd:InstanceID>0</vssd:InstanceID>
            <vssd:VirtualSystemIdentifier>%s</vssd:VirtualSystemIdentifier>
            <vssd:VirtualSystemType>vmx-10</vssd:VirtualSystemType>
          </System>
          <Item>
            <rasd:AllocationUnits>hertz * 10^6</rasd:AllocationUnits>
            <rasd:ElementName>1 virtual CPU</rasd:ElementName>
            <rasd:InstanceID>1</rasd:InstanceID>
            <rasd:ResourceType>3</rasd:ResourceType>
            <rasd:VirtualQuantity>1</rasd:VirtualQuantity>
          </Item>
          <Item>
            <rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits>
            <rasd:ElementName>1024 MiB of memory</rasd:ElementName>
            <rasd:InstanceID>2</rasd:InstanceID>
            <rasd:ResourceType>4</rasd:ResourceType>
            <rasd:VirtualQuantity>1024</rasd:VirtualQuantity>
          </Item>
    %s    </VirtualHardwareSection>
      </VirtualSystem>
    </Envelope>
    """
        .formatted(files, sections, vm, vm, vm, items);
  }

  private static String controller(int index) {
    return """
          <Item>
            <rasd:Address>%d</rasd:Address>
            <rasd:ElementName>SCSI controller %d</rasd:ElementName>
            <rasd:InstanceID>%d</rasd:InstanceID>
            <rasd:ResourceSubType>lsilogic</rasd:ResourceSubType>
            <rasd:ResourceType>6</rasd:ResourceType>
          </Item>
    """
        .formatted(index, index, FIRST_CONTROLLER_ID + index);
  }

  private static String drive(int index, int instanceId) {
    int place = index % DISKS_PER_CONTROLLER;
    return """
          <Item>
            <rasd:AddressOnParent>%d</rasd:AddressOnParent>
            <rasd:ElementName>Hard disk %d</rasd:ElementName>
            <rasd:HostResource>ovf:/disk/vmdisk%d</rasd:HostResource>
            <rasd:InstanceID>%d</rasd:InstanceID>
            <rasd:Parent>%d</rasd:Parent>
            <rasd:ResourceType>17</rasd:ResourceType>
          </Item>
    """
        .formatted(
            place < CONTROLLER_ADDRESS ? place : place + 1,
            index + 1,
            index + 1,
            instanceId,
            FIRST_CONTROLLER_ID + index / DISKS_PER_CONTROLLER);
  }
}
