/**
 * What says that bytes are a disk: a partition table, a boot sector, or the superblock of a file system. A raw disk has no
 * header of its own, so that any file would do as one.
 */

import { type ByteSource, headOf, refuseImage } from "./byte-source.ts";
import { imageLimits } from "./image-limits.ts";

interface Signature {
  readonly what: string;
  readonly at: number;
  readonly bytes: string;
}

const diskSignatures: readonly Signature[] = [
  { what: "boot sector or partition table", at: 510, bytes: "\x55\xaa" },
  { what: "GPT", at: 512, bytes: "EFI PART" },
  { what: "GPT", at: 4_096, bytes: "EFI PART" },
  { what: "ext file system", at: 1_080, bytes: "\x53\xef" },
  { what: "XFS", at: 0, bytes: "XFSB" },
  { what: "btrfs", at: 65_600, bytes: "_BHRfS_M" },
  { what: "ISO 9660", at: 32_769, bytes: "CD001" },
  { what: "UDF", at: 32_769, bytes: "BEA01" },
  { what: "squashfs", at: 0, bytes: "hsqs" },
  { what: "erofs", at: 1_024, bytes: "\xe2\xe1\xf5\xe0" },
  { what: "f2fs", at: 1_024, bytes: "\x10\x20\xf5\xf2" },
  { what: "LVM", at: 512, bytes: "LABELONE" },
  { what: "LUKS", at: 0, bytes: "LUKS\xba\xbe" },
  { what: "swap", at: 4_086, bytes: "SWAPSPACE2" },
];

/** Formats that name other files, or that a reader which guesses would take for something else than raw bytes. */
const foreignSignatures: readonly Signature[] = [
  { what: "qcow", at: 0, bytes: "QFI\xfb" },
  { what: "vmdk", at: 0, bytes: "KDMV" },
  { what: "vmdk (COWD)", at: 0, bytes: "COWD" },
  { what: "vmdk descriptor", at: 0, bytes: "# Disk DescriptorFile" },
  { what: "vhdx", at: 0, bytes: "vhdxfile" },
  { what: "vhd", at: 0, bytes: "conectix" },
  { what: "vdi", at: 64, bytes: "\x7f\x10\xda\xbe" },
  { what: "vdi", at: 0, bytes: "<<< " },
  { what: "qed", at: 0, bytes: "QED\0" },
  { what: "parallels", at: 0, bytes: "WithoutFreeSpace" },
  { what: "parallels", at: 0, bytes: "WithouFreSpacExt" },
  { what: "bochs", at: 0, bytes: "Bochs Virtual HD Image" },
];

const packedSignatures: readonly Signature[] = [
  { what: "gzip", at: 0, bytes: "\x1f\x8b" },
  { what: "xz", at: 0, bytes: "\xfd7zXZ\0" },
  { what: "zstd", at: 0, bytes: "\x28\xb5\x2f\xfd" },
  { what: "bzip2", at: 0, bytes: "BZh" },
  { what: "zip", at: 0, bytes: "PK\x03\x04" },
  { what: "7z", at: 0, bytes: "7z\xbc\xaf" },
  { what: "lzma", at: 0, bytes: "\x5d\0\0" },
  { what: "lz4", at: 0, bytes: "\x02\x21\x4c\x18" },
];

/** What the kernel unpacks as an initial RAM disk: a cpio archive, or one that is compressed. */
const initrdSignatures: readonly Signature[] = [
  { what: "cpio", at: 0, bytes: "070701" },
  { what: "cpio", at: 0, bytes: "070702" },
  ...packedSignatures.filter(({ what }) => !["zip", "7z"].includes(what)),
];

const sectorBytes = 512;

export function diskSignatureOf(head: Uint8Array): string | undefined {
  return findSignature(diskSignatures, head);
}

export function foreignFormatOf(head: Uint8Array): string | undefined {
  return findSignature(foreignSignatures, head);
}

export function initrdFormatOf(head: Uint8Array): string | undefined {
  return findSignature(initrdSignatures, head);
}

/** @throws INVALID_ARGUMENT for another format; and, where raw was not said, for bytes that show no sign of a disk */
export async function inspectRawDisk(source: ByteSource, options: { readonly declared: boolean }): Promise<void> {
  if (source.sizeBytes > imageLimits.virtualBytesMax) throw refuseImage("no disk is as large as it");
  const head = await headOf(source, imageLimits.headBytes);
  const foreign = foreignFormatOf(head);
  if (foreign !== undefined) throw refuseImage(`its format (${foreign}) is not that of a raw disk`);
  if (options.declared) return;
  if (diskSignatureOf(head) === undefined) {
    const packed = findSignature(packedSignatures, head);
    if (packed !== undefined) throw refuseImage(`it is packed (${packed}); unpack it first`);
    throw refuseImage("it shows no sign of a disk: neither a partition table nor a file system; say raw if it is one");
  }
  assertWhole(head, source.sizeBytes);
}

/** A file that was cut off says itself how long it was. */
function assertWhole(head: Uint8Array, sizeBytes: number): void {
  const neededBytes = Math.max(partitionedBytes(head), extBytes(head));
  if (neededBytes <= sizeBytes) return;
  throw refuseImage(`what is on it needs ${neededBytes} bytes, and it has ${sizeBytes}: it is cut off`);
}

/** Up to the end of the last partition. Programs stand in the place of the table too: then it makes no sense as one. */
function partitionedBytes(head: Uint8Array): number {
  if (head.length < sectorBytes || head[510] !== 0x55 || head[511] !== 0xaa) return 0;
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  let endSectors = 0;
  for (let at = 446; at < 510; at += 16) {
    const [status, type] = [view.getUint8(at), view.getUint8(at + 4)];
    const [start, count] = [view.getUint32(at + 8, true), view.getUint32(at + 12, true)];
    if (status !== 0 && status !== 0x80) return 0;
    if (type === 0) continue;
    if (type === 0xee) return gptBytes(head);
    if (start === 0 || count === 0) return 0;
    endSectors = Math.max(endSectors, start + count);
  }
  return endSectors * sectorBytes;
}

/** The second header of a GPT is the last sector of the disk. */
function gptBytes(head: Uint8Array): number {
  if (head.length < 2 * sectorBytes || !matches(head, { what: "GPT", at: sectorBytes, bytes: "EFI PART" })) return 0;
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  return (Number(view.getBigUint64(sectorBytes + 32, true)) + 1) * sectorBytes;
}

function extBytes(head: Uint8Array): number {
  if (head.length < 2_048 || head[1_080] !== 0x53 || head[1_081] !== 0xef) return 0;
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const blockBits = view.getUint32(1_024 + 24, true);
  return blockBits > 6 ? 0 : view.getUint32(1_024 + 4, true) * 1_024 * 2 ** blockBits;
}

function findSignature(signatures: readonly Signature[], head: Uint8Array): string | undefined {
  return signatures.find((signature) => matches(head, signature))?.what;
}

function matches(head: Uint8Array, { at, bytes }: Signature): boolean {
  if (at + bytes.length > head.length) return false;
  for (let index = 0; index < bytes.length; index++) if (head[at + index] !== bytes.charCodeAt(index)) return false;
  return true;
}
