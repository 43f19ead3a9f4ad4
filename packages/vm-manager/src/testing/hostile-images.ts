/** Images that somebody made on purpose, and the archives that they come in. */
import { createHash } from "node:crypto";
import { fromUtf8 } from "@blixard/common";

const clusterBytes = 65_536;

/** A whole qcow2 of one cluster with content, which `change` then spoils: header, first table, second table, data. */
export function qcow2File(change: (view: DataView) => void = () => {}): Uint8Array {
  const bytes = new Uint8Array(6 * clusterBytes).fill(7, 5 * clusterBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0x5146_49fb);
  view.setUint32(4, 3);
  view.setUint32(20, 16);
  view.setBigUint64(24, BigInt(1024 ** 3));
  view.setUint32(36, 2);
  view.setBigUint64(40, BigInt(3 * clusterBytes));
  view.setBigUint64(48, BigInt(clusterBytes));
  view.setUint32(56, 1);
  view.setUint32(96, 4);
  view.setUint32(100, 104);
  view.setBigUint64(clusterBytes, BigInt(2 * clusterBytes));
  for (let cluster = 0; cluster < 6; cluster++) view.setUint16(2 * clusterBytes + 2 * cluster, 1);
  view.setBigUint64(qcow2Places.l1, BigInt(4 * clusterBytes) | (1n << 63n));
  view.setBigUint64(qcow2Places.l2, BigInt(5 * clusterBytes) | (1n << 63n));
  change(view);
  return bytes;
}

export const qcow2Places = {
  l1: 3 * clusterBytes,
  l2: 4 * clusterBytes,
  data: 5 * clusterBytes,
  clusterBytes,
} as const;

/** A raw disk with one partition that ends where `sectors` say. */
export function partitionedDisk(sizeBytes: number, sectors = sizeBytes / 512 - 1): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  const view = new DataView(bytes.buffer);
  view.setUint8(446 + 4, 0x83);
  view.setUint32(446 + 8, 1, true);
  view.setUint32(446 + 12, sectors, true);
  bytes.set([0x55, 0xaa], 510);
  return bytes;
}

/** A tar archive (ustar) of these files. */
export function tarFile(files: Readonly<Record<string, Uint8Array>>, type = "0"): Uint8Array {
  const blocks = Object.entries(files).flatMap(([name, content]) => {
    const header = new Uint8Array(512);
    const put = (at: number, text: string) => header.set(fromUtf8(text), at);
    put(0, name);
    put(124, `${content.length.toString(8).padStart(11, "0")}\0`);
    put(148, " ".repeat(8));
    put(156, type);
    put(257, "ustar\0");
    const sum = header.reduce((total, byte) => total + byte, 0);
    put(148, `${sum.toString(8).padStart(6, "0")}\0 `);
    return [header, content, new Uint8Array((512 - (content.length % 512)) % 512)];
  });
  return new Uint8Array(Buffer.concat([...blocks, new Uint8Array(1_024)]));
}

export interface OvaParts {
  readonly disk: Uint8Array;
  readonly description?: string;
  /** Default: the right digests. */
  readonly digests?: string;
}

/** An OVA, as VirtualBox and VMware export it. */
export function ovaFile({ disk, description = ovfText(), digests }: OvaParts): Uint8Array {
  const digestOf = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
  const ovf = fromUtf8(description);
  const list = digests ?? `SHA256(vm.ovf)= ${digestOf(ovf)}\nSHA256(vm-disk1.vmdk)= ${digestOf(disk)}\n`;
  return tarFile({ "vm.ovf": ovf, "vm.mf": fromUtf8(list), "vm-disk1.vmdk": disk });
}

export function ovfText(references = '<File ovf:href="vm-disk1.vmdk" ovf:id="file1"/>', disks = ovfDisk): string {
  return `<?xml version="1.0"?>
<Envelope xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
  <References>${references}</References>
  <DiskSection><Info>Disks</Info>${disks}</DiskSection>
</Envelope>`;
}

export const ovfDisk =
  '<Disk ovf:capacity="8" ovf:diskId="vmdisk1" ovf:fileRef="file1" ovf:format="x#streamOptimized"/>';
