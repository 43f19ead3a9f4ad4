/** What the headers of an Ethernet frame say: ARP (RFC 826), IPv4 (RFC 791), TCP (RFC 9293), UDP (RFC 768). */

export const etherHeaderBytes = 14;
const ipv4HeaderBytesMin = 20;
const arpBytes = 28;

export const protocols = { icmp: 1, tcp: 6, udp: 17 } as const;

export interface ArpPacket {
  readonly type: "arp";
  /** Somebody asks who has the address `target`. */
  readonly asks: boolean;
  readonly senderMac: string;
  readonly sender: number;
  readonly target: number;
}

export interface Ipv4Packet {
  readonly type: "ipv4";
  readonly source: number;
  readonly destination: number;
  readonly protocol: number;
  /** Not the whole packet. */
  readonly isFragment: boolean;
  /** Of TCP and UDP; absent in a fragment, which may not have them. */
  readonly ports: { readonly source: number; readonly destination: number } | undefined;
  /** Of a TCP segment with ports. */
  readonly flags: { readonly syn: boolean; readonly ack: boolean } | undefined;
  /** Where the content of the protocol begins in the frame. */
  readonly contentOffset: number;
}

/** Undefined for everything else, and for what is cut. */
export function readPacket(frame: Buffer): ArpPacket | Ipv4Packet | undefined {
  if (frame.length < etherHeaderBytes) return undefined;
  const etherType = frame.readUInt16BE(12);
  if (etherType === 0x0806) return readArp(frame);
  return etherType === 0x0800 ? readIpv4(frame) : undefined;
}

export function macAt(frame: Buffer, offset: number): string {
  const digits = frame.toString("hex", offset, offset + 6);
  return digits.replace(/..(?=.)/g, "$&:");
}

/** The same as a number of 48 bits, which is compared faster. */
export function macNumberAt(frame: Buffer, offset: number): number {
  return frame.readUIntBE(offset, 6);
}

export function macNumberOf(mac: string): number {
  return Number.parseInt(mac.replaceAll(":", ""), 16);
}

/** Of Ethernet and IPv4 only. */
function readArp(frame: Buffer): ArpPacket | undefined {
  const at = etherHeaderBytes;
  if (frame.length < at + arpBytes || frame.readUInt32BE(at) !== 0x0001_0800 || frame.readUInt16BE(at + 4) !== 0x0604) {
    return undefined;
  }
  return {
    type: "arp",
    asks: frame.readUInt16BE(at + 6) === 1,
    senderMac: macAt(frame, at + 8),
    sender: frame.readUInt32BE(at + 14),
    target: frame.readUInt32BE(at + 24),
  };
}

function readIpv4(frame: Buffer): Ipv4Packet | undefined {
  const at = etherHeaderBytes;
  if (frame.length < at + ipv4HeaderBytesMin) return undefined;
  const first = frame[at] ?? 0;
  const headerBytes = (first & 0x0f) * 4;
  if (first >> 4 !== 4 || headerBytes < ipv4HeaderBytesMin || frame.length < at + headerBytes) return undefined;
  // The offset of the fragment and whether more follow; "do not fragment" and the reserved bit say nothing here.
  const isFragment = (frame.readUInt16BE(at + 6) & 0x3fff) !== 0;
  const protocol = frame[at + 9] ?? 0;
  const contentOffset = at + headerBytes;
  const hasPorts = protocol === protocols.tcp || protocol === protocols.udp;
  const headerFits = frame.length >= contentOffset + (protocol === protocols.tcp ? 20 : 8);
  if (hasPorts && !isFragment && !headerFits) return undefined;
  const flags = frame[contentOffset + 13] ?? 0;
  return {
    type: "ipv4",
    source: frame.readUInt32BE(at + 12),
    destination: frame.readUInt32BE(at + 16),
    protocol,
    isFragment,
    ports:
      hasPorts && !isFragment
        ? { source: frame.readUInt16BE(contentOffset), destination: frame.readUInt16BE(contentOffset + 2) }
        : undefined,
    flags:
      protocol === protocols.tcp && !isFragment ? { syn: (flags & 0x02) !== 0, ack: (flags & 0x10) !== 0 } : undefined,
    contentOffset,
  };
}
