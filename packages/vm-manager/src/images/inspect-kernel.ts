/** Looks into kernels and initial RAM disks: whether they are such, and whether all of them is there. */
import { type ByteSource, headOf, refuseImage } from "./byte-source.ts";
import { initrdFormatOf } from "./raw-disk.ts";

/** The multiboot header stands in the first 8 KiB. */
const multibootHeadBytes = 8_192;
const setupSectorBytes = 512;
const paragraphBytes = 16;

/** @throws INVALID_ARGUMENT */
export async function inspectMultiboot(source: ByteSource): Promise<void> {
  const head = await headOf(source, multibootHeadBytes);
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  if (!hasMultibootHeader(view)) throw refuseImage("it has no multiboot header in its first 8 KiB");
}

/** Documentation/arch/x86/boot.rst: the magic "HdrS" of the setup header, and how long setup and kernel are. */
export async function inspectLinux(source: ByteSource): Promise<void> {
  const head = await headOf(source, 1_024);
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  if (view.byteLength < 0x206 || view.getUint32(0x202, true) !== 0x5372_6448)
    throw refuseImage("it is no Linux bzImage");
  const setupSectors = view.getUint8(0x1f1) || 4;
  const neededBytes = (setupSectors + 1) * setupSectorBytes + view.getUint32(0x1f4, true) * paragraphBytes;
  // The last paragraph may be shorter.
  if (source.sizeBytes + paragraphBytes <= neededBytes) throw refuseImage("it is cut off");
}

export function isLinux(view: DataView): boolean {
  return view.byteLength >= 0x206 && view.getUint32(0x202, true) === 0x5372_6448;
}

export async function inspectInitrd(source: ByteSource): Promise<void> {
  if (initrdFormatOf(await headOf(source, 512)) !== undefined) return;
  throw refuseImage("it is no initial RAM disk: neither a cpio archive nor a compressed one");
}

export function hasMultibootHeader(view: DataView): boolean {
  for (let at = 0; at + 12 <= Math.min(view.byteLength, multibootHeadBytes); at += 4) {
    if (view.getUint32(at, true) !== 0x1bad_b002) continue;
    const sum = view.getUint32(at, true) + view.getUint32(at + 4, true) + view.getUint32(at + 8, true);
    if (sum % 2 ** 32 === 0) return true;
  }
  return false;
}
