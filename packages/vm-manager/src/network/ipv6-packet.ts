/**
 * What the headers of a frame of IPv6 say (RFC 8200), as far as private networks let it pass: TCP, UDP and ICMPv6, with no header
 * between but that of a fragment. Everything else is not understood, so that nothing hides behind a header.
 */
import { etherHeaderBytes, type Ipv4Packet, protocols } from "./packet.ts";

export const ipv6HeaderBytes = 40;
const fragmentHeaderBytes = 8;
const fragmentHeader = 44;
export const icmpv6 = 58;

/** One between two cards, by their addresses of IPv4, which stand for them: rules and conversations are about cards. */
export interface CardPacket extends Omit<Ipv4Packet, "type"> {
  readonly type: "ipv4" | "ipv6";
}

export interface Ipv6Packet extends Omit<Ipv4Packet, "type" | "source" | "destination"> {
  readonly type: "ipv6";
  /** 32 hexadecimal digits. */
  readonly source: string;
  readonly destination: string;
  /** Its type of ICMPv6, which has the protocol `icmp` here; undefined for another protocol. */
  readonly icmpType: number | undefined;
}

/** Undefined for everything else, and for what is cut. */
export function readIpv6(frame: Buffer): Ipv6Packet | undefined {
  const at = etherHeaderBytes;
  if (frame.length < at + ipv6HeaderBytes || frame.readUInt16BE(12) !== 0x86dd || (frame[at] ?? 0) >> 4 !== 6) {
    return undefined;
  }
  const bytes = frame.readUInt16BE(at + 4);
  if (frame.length < at + ipv6HeaderBytes + bytes) return undefined;
  const next = frame[at + 6] ?? 0;
  const isFragment = next === fragmentHeader;
  const contentOffset = at + ipv6HeaderBytes + (isFragment ? fragmentHeaderBytes : 0);
  if (frame.length < contentOffset) return undefined;
  const protocol = isFragment ? (frame[at + ipv6HeaderBytes] ?? 0) : next;
  const isTcp = protocol === protocols.tcp;
  // What neighbours say is never in fragments (RFC 6980), and an echo that is has to be smaller.
  if (!isTcp && protocol !== protocols.udp && (protocol !== icmpv6 || isFragment)) return undefined;
  if (!isFragment && frame.length < contentOffset + (isTcp ? 20 : 8)) return undefined;
  const flags = frame[contentOffset + 13] ?? 0;
  return {
    type: "ipv6",
    source: frame.toString("hex", at + 8, at + 24),
    destination: frame.toString("hex", at + 24, at + 40),
    protocol: protocol === icmpv6 ? protocols.icmp : protocol,
    icmpType: protocol === icmpv6 ? frame[contentOffset] : undefined,
    isFragment,
    ports:
      isFragment || protocol === icmpv6
        ? undefined
        : { source: frame.readUInt16BE(contentOffset), destination: frame.readUInt16BE(contentOffset + 2) },
    flags: isTcp && !isFragment ? { syn: (flags & 0x02) !== 0, ack: (flags & 0x10) !== 0 } : undefined,
    contentOffset,
  };
}
