/** Looks into an ISO 9660 image: whether it is one, and whether all of it is there. */
import { type ByteSource, headOf, refuseImage } from "./byte-source.ts";
import { imageLimits } from "./image-limits.ts";
import { foreignFormatOf } from "./raw-disk.ts";

const sectorBytes = 2_048;
/** Before it stands what a boot sector may need. */
const descriptorsAt = 16 * sectorBytes;
const primaryDescriptor = 1;
const magic = [0x43, 0x44, 0x30, 0x30, 0x31]; // CD001
const descriptorsMax = 32;

/** Whether bytes begin as those of a disc, whatever else they begin as: many discs are a disk with partitions as well. */
export async function looksLikeIso(source: ByteSource): Promise<boolean> {
  if (source.sizeBytes < descriptorsAt + sectorBytes) return false;
  return isDescriptor(await source.read(descriptorsAt, sectorBytes));
}

/** @throws INVALID_ARGUMENT for what is no disc, or not all of one */
export async function inspectIso(source: ByteSource): Promise<void> {
  if (source.sizeBytes > imageLimits.virtualBytesMax) throw refuseImage("no disc is as large as it");
  const foreign = foreignFormatOf(await headOf(source, imageLimits.headBytes));
  if (foreign !== undefined) throw refuseImage(`its format (${foreign}) is not that of a disc`);
  if (!(await looksLikeIso(source))) throw refuseImage("it is no ISO 9660 image: it has no CD001 at 32 KiB");
  for (let at = 0; at < descriptorsMax; at++) {
    const bytes = await source.read(descriptorsAt + at * sectorBytes, sectorBytes);
    if (!isDescriptor(bytes)) break;
    if (bytes[0] !== primaryDescriptor) continue;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const neededBytes = view.getUint32(80, true) * view.getUint16(128, true);
    if (neededBytes <= source.sizeBytes) return;
    throw refuseImage(`what is on it needs ${neededBytes} bytes, and it has ${source.sizeBytes}: it is cut off`);
  }
  throw refuseImage("it has no primary volume");
}

function isDescriptor(bytes: Uint8Array): boolean {
  return magic.every((byte, at) => bytes[1 + at] === byte);
}
