/** IPv4 addresses as numbers, and ranges of them. */

export interface Ipv4Range {
  readonly base: number;
  readonly mask: number;
}

export function parseIpv4(text: string): number {
  return text.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
}

export function formatIpv4(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join(".");
}

export function ipv4RangeOf(address: number, prefixLength: number): Ipv4Range {
  const mask = prefixLength === 0 ? 0 : (0xffff_ffff << (32 - prefixLength)) >>> 0;
  return { base: (address & mask) >>> 0, mask };
}

/** `10.0.0.0/8` */
export function parseIpv4Range(text: string): Ipv4Range {
  const [address = "", length = "32"] = text.split("/");
  return ipv4RangeOf(parseIpv4(address), Number(length));
}

export function isInRange(address: number, { base, mask }: Ipv4Range): boolean {
  return (address & mask) >>> 0 === base;
}
