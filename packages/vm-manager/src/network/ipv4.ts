/** IPv4 addresses as numbers, and ranges of them. */

export interface AddressRange {
  readonly base: number;
  readonly mask: number;
}

export function parseAddress(text: string): number {
  return text.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
}

export function formatAddress(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join(".");
}

export function rangeOf(address: number, prefixLength: number): AddressRange {
  const mask = prefixLength === 0 ? 0 : (0xffff_ffff << (32 - prefixLength)) >>> 0;
  return { base: (address & mask) >>> 0, mask };
}

/** `10.0.0.0/8` */
export function parseRange(text: string): AddressRange {
  const [address = "", length = "32"] = text.split("/");
  return rangeOf(parseAddress(address), Number(length));
}

export function isIn(address: number, { base, mask }: AddressRange): boolean {
  return (address & mask) >>> 0 === base;
}
