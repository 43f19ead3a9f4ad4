/** Segments of TCP (RFC 9293) as the switch writes and reads them; of options, only the size of segments. */

import { checksumOf, type Ipv4End, ipv4Frame } from "../ipv4-frame.ts";
import { etherHeaderBytes, protocols, readPacket } from "../packet.ts";

const ipv4HeaderBytes = 20;
const tcpHeaderBytes = 20;
const windowBytesDefault = 8_192;
const mssOptionBytes = 4;
const mssOption = 2;
/** What a side takes that says nothing of it (RFC 9293, 3.7.1). */
export const mssDefault = 536;

const flagBits = { fin: 0x01, syn: 0x02, rst: 0x04, psh: 0x08, ack: 0x10 } as const;
export type TcpFlag = keyof typeof flagBits;

export interface TcpSegment {
  readonly sequence: number;
  readonly acknowledged: number;
  readonly flags: readonly TcpFlag[];
  readonly content: Buffer;
  /** Bytes that the sender takes beyond `acknowledged`. */
  readonly window?: number;
  /** Most bytes that the sender takes in one segment; said with `syn`. */
  readonly mss?: number;
}

export function tcpFrame(from: Ipv4End, to: Ipv4End, segment: TcpSegment): Buffer {
  const { sequence, acknowledged, flags, content, window = windowBytesDefault, mss } = segment;
  const headerBytes = tcpHeaderBytes + (mss === undefined ? 0 : mssOptionBytes);
  const length = headerBytes + content.length;
  const frame = ipv4Frame(from, to, protocols.tcp, length);
  const tcp = frame.subarray(etherHeaderBytes + ipv4HeaderBytes);
  tcp.writeUInt16BE(from.port, 0);
  tcp.writeUInt16BE(to.port, 2);
  tcp.writeUInt32BE(sequence >>> 0, 4);
  tcp.writeUInt32BE(acknowledged >>> 0, 8);
  tcp.writeUInt8((headerBytes / 4) << 4, 12);
  tcp.writeUInt8(
    flags.reduce((bits, flag) => bits | flagBits[flag], 0),
    13,
  );
  tcp.writeUInt16BE(window, 14);
  if (mss !== undefined) tcp.writeUInt32BE((mssOption << 24) | (mssOptionBytes << 16) | mss, tcpHeaderBytes);
  content.copy(tcp, headerBytes);
  const halves = (address: number) => (address >>> 16) + (address & 0xffff);
  const pseudo = halves(from.address) + halves(to.address) + protocols.tcp + length;
  tcp.writeUInt16BE(checksumOf(tcp, pseudo), 16);
  return frame;
}

export interface ReceivedSegment extends TcpSegment {
  readonly source: { readonly address: number; readonly port: number };
  readonly destination: { readonly address: number; readonly port: number };
  readonly window: number;
  readonly mss: number;
}

/** Undefined for everything that is no whole segment. The checksum is the guest's own affair: what it garbles is its own. */
export function readSegment(frame: Buffer): ReceivedSegment | undefined {
  const packet = readPacket(frame);
  if (packet?.type !== "ipv4" || packet.protocol !== protocols.tcp || packet.ports === undefined) return undefined;
  const at = packet.contentOffset;
  const end = etherHeaderBytes + frame.readUInt16BE(etherHeaderBytes + 2);
  const contentAt = at + ((frame[at + 12] ?? 0) >> 4) * 4;
  if (contentAt < at + tcpHeaderBytes || contentAt > end || end > frame.length) return undefined;
  const bits = frame[at + 13] ?? 0;
  return {
    source: { address: packet.source, port: packet.ports.source },
    destination: { address: packet.destination, port: packet.ports.destination },
    sequence: frame.readUInt32BE(at + 4),
    acknowledged: frame.readUInt32BE(at + 8),
    flags: (Object.keys(flagBits) as TcpFlag[]).filter((flag) => (bits & flagBits[flag]) !== 0),
    window: frame.readUInt16BE(at + 14),
    mss: readMss(frame.subarray(at + tcpHeaderBytes, contentAt)),
    content: frame.subarray(contentAt, end),
  };
}

function readMss(options: Buffer): number {
  for (let at = 0; at < options.length; ) {
    const kind = options[at] ?? 0;
    const length = kind === 1 ? 1 : (options[at + 1] ?? 0);
    // The end of the list, or what is none.
    if (kind === 0 || length === 0 || at + length > options.length) break;
    if (kind === mssOption && length === mssOptionBytes) return options.readUInt16BE(at + 2);
    at += length;
  }
  return mssDefault;
}
