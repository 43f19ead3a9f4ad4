import { refuseImage } from "./byte-source.ts";
import { imageLimits } from "./image-limits.ts";

/** A small file that becomes a very large disk has no use but to fill one. @throws INVALID_ARGUMENT */
export function assertExpansion(fileBytes: number, unpackedBytes: number): void {
  const { expansionMax, expansionFreeBytes } = imageLimits;
  if (unpackedBytes <= fileBytes * expansionMax + expansionFreeBytes) return;
  throw refuseImage(`its ${fileBytes} bytes unpack to ${unpackedBytes}: that is no disk but a bomb`);
}
