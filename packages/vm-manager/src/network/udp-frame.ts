/** Writes datagrams of UDP over IPv4 over Ethernet. */
import { etherHeaderBytes, protocols } from "./packet.ts";

const ipv4HeaderBytes = 20;
export const udpHeaderBytes = 8;

export interface UdpEnd {
  readonly mac: string;
  readonly address: number;
  readonly port: number;
}

/** At most 65,507 bytes of content. */
export function udpFrame(from: UdpEnd, to: UdpEnd, content: Buffer): Buffer {
  const udpAt = etherHeaderBytes + ipv4HeaderBytes;
  const frame = Buffer.alloc(udpAt + udpHeaderBytes + content.length);
  frame.write(hexOf(to.mac), 0, "hex");
  frame.write(hexOf(from.mac), 6, "hex");
  frame.writeUInt16BE(0x0800, 12);
  const ip = frame.subarray(etherHeaderBytes, udpAt);
  ip.writeUInt8(0x45, 0);
  ip.writeUInt16BE(frame.length - etherHeaderBytes, 2);
  ip.writeUInt8(64, 8);
  ip.writeUInt8(protocols.udp, 9);
  ip.writeUInt32BE(from.address, 12);
  ip.writeUInt32BE(to.address, 16);
  ip.writeUInt16BE(checksumOf(ip), 10);
  frame.writeUInt16BE(from.port, udpAt);
  frame.writeUInt16BE(to.port, udpAt + 2);
  // UDP over IPv4 may do without a checksum (RFC 768).
  frame.writeUInt16BE(udpHeaderBytes + content.length, udpAt + 4);
  content.copy(frame, udpAt + udpHeaderBytes);
  return frame;
}

/** RFC 1071. */
function checksumOf(header: Buffer): number {
  let sum = 0;
  for (let at = 0; at < header.length; at += 2) sum += header.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

export function hexOf(mac: string): string {
  return mac.replaceAll(":", "");
}
