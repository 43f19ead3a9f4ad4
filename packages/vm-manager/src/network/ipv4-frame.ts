/** Writes packets of IPv4 over Ethernet, and datagrams of UDP in them. */
import { etherHeaderBytes, protocols } from "./packet.ts";

const ipv4HeaderBytes = 20;
export const udpHeaderBytes = 8;

export interface Ipv4End {
  readonly mac: string;
  readonly address: number;
  readonly port: number;
}

/** At most 65,507 bytes of content. */
export function udpFrame(from: Ipv4End, to: Ipv4End, content: Buffer): Buffer {
  const frame = ipv4Frame(from, to, protocols.udp, udpHeaderBytes + content.length);
  const udpAt = etherHeaderBytes + ipv4HeaderBytes;
  frame.writeUInt16BE(from.port, udpAt);
  frame.writeUInt16BE(to.port, udpAt + 2);
  // UDP over IPv4 may do without a checksum (RFC 768).
  frame.writeUInt16BE(udpHeaderBytes + content.length, udpAt + 4);
  content.copy(frame, udpAt + udpHeaderBytes);
  return frame;
}

/** A frame with room for `bytes` behind its headers, which are written. */
export function ipv4Frame(from: Ipv4End, to: Ipv4End, protocol: number, bytes: number): Buffer {
  const contentAt = etherHeaderBytes + ipv4HeaderBytes;
  const frame = Buffer.alloc(contentAt + bytes);
  frame.write(hexOf(to.mac), 0, "hex");
  frame.write(hexOf(from.mac), 6, "hex");
  frame.writeUInt16BE(0x0800, 12);
  const ip = frame.subarray(etherHeaderBytes, contentAt);
  ip.writeUInt8(0x45, 0);
  ip.writeUInt16BE(frame.length - etherHeaderBytes, 2);
  ip.writeUInt8(64, 8);
  ip.writeUInt8(protocol, 9);
  ip.writeUInt32BE(from.address, 12);
  ip.writeUInt32BE(to.address, 16);
  ip.writeUInt16BE(checksumOf(ip), 10);
  return frame;
}

/** RFC 1071; `before` is the sum of what is not in `bytes`. */
export function checksumOf(bytes: Buffer, before = 0): number {
  let sum = before;
  for (let at = 0; at + 1 < bytes.length; at += 2) sum += bytes.readUInt16BE(at);
  if (bytes.length % 2 === 1) sum += (bytes[bytes.length - 1] ?? 0) << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

export function hexOf(mac: string): string {
  return mac.replaceAll(":", "");
}
