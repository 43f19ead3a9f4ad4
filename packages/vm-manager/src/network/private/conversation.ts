/**
 * To which conversation a packet belongs, as the card sees it: one with another card, by the ports of TCP or UDP, the number of an
 * echo request (RFC 792), or the protocol alone. Its key is one number, so that many fit into little memory.
 *
 *     kind | last 16 bits of the address of the other card | own port | other port
 *
 * A network has 65,536 addresses at most, so that these bits name a card in it. Where there are no ports, the one is which side asks
 * (echo) or the protocol, and the other the number of the echo, or 0. Of IPv6 they are other kinds.
 */
import type { CardPacket } from "../ipv6-packet.ts";
import { protocols } from "../packet.ts";
import type { Beginning, Direction } from "./security-rules.ts";

const kinds = { tcp: 0, udp: 1, echo: 2, other: 3 } as const;
/** The kinds of IPv6 follow those of IPv4. */
const kindsOfOne = 4;
const word = 0x1_0000;
const echoes = { ipv4: { request: 8, reply: 0 }, ipv6: { request: 128, reply: 129 } } as const;
/** Unreachable, out of time, a header that is wrong: they bear the beginning of the packet that they are about. */
const icmpErrors: readonly number[] = [3, 11, 12];
const icmpHeaderBytes = 8;
const ipv4HeaderBytesMin = 20;
const tcpBits = { fin: 0x01, syn: 0x02, rst: 0x04, ack: 0x10 } as const;

export interface Conversation {
  readonly key: number;
  /** What the packet does where there is none yet. `about`: an error about one. */
  readonly part: "begins" | "answers" | "about";
  /** Of TCP. */
  readonly tcp: { readonly opens: boolean; readonly fin: boolean; readonly rst: boolean } | undefined;
}

/** Undefined for a packet that belongs to none: each one is judged by itself. */
export function conversationOf(packet: CardPacket, frame: Buffer, direction: Direction): Conversation | undefined {
  const found = conversationOfKind(packet, frame, direction);
  if (found === undefined || packet.type === "ipv4") return found;
  return { ...found, key: found.key + kindsOfOne * word ** 3 };
}

function conversationOfKind(packet: CardPacket, frame: Buffer, direction: Direction): Conversation | undefined {
  const { protocol, ports, contentOffset, isFragment } = packet;
  if (isFragment) return undefined;
  const other = direction === "out" ? packet.destination : packet.source;
  if (ports !== undefined) {
    const key = keyOfPorts(protocol, other, ports, direction);
    return { key, part: "begins", tcp: protocol === protocols.tcp ? tcpOf(frame[contentOffset + 13] ?? 0) : undefined };
  }
  if (protocol !== protocols.icmp)
    return { key: keyOf(kinds.other, other, protocol, 0), part: "begins", tcp: undefined };
  if (frame.length < contentOffset + icmpHeaderBytes) return undefined;
  const type = frame[contentOffset] ?? 0;
  const { request, reply } = echoes[packet.type];
  if (type === request || type === reply) {
    const asks = type === request;
    const byGuest = asks === (direction === "out");
    const key = keyOf(kinds.echo, other, byGuest ? 1 : 0, frame.readUInt16BE(contentOffset + 4));
    return { key, part: asks ? "begins" : "answers", tcp: undefined };
  }
  return packet.type === "ipv4" && icmpErrors.includes(type) ? aboutOf(packet, frame, direction) : undefined;
}

/** What the first packet of a conversation asked for. */
export function beginningOf(key: number, byGuest: boolean): Beginning {
  const kind = kindOf(key);
  const [own, other] = [Math.floor(key / word) % word, key % word];
  if (kind === kinds.echo) return { protocol: protocols.icmp, port: undefined };
  if (kind === kinds.other) return { protocol: own, port: undefined };
  return { protocol: kind === kinds.tcp ? protocols.tcp : protocols.udp, port: byGuest ? other : own };
}

/** The last bits of the address of the other card. */
export function peerOfKey(key: number): number {
  return Math.floor(key / word ** 2) % word;
}

export function isTcp(key: number): boolean {
  return kindOf(key) === kinds.tcp;
}

function kindOf(key: number): number {
  return Math.floor(key / word ** 3) % kindsOfOne;
}

function tcpOf(flags: number) {
  const has = (bit: number) => (flags & bit) !== 0;
  return { opens: has(tcpBits.syn) && !has(tcpBits.ack), fin: has(tcpBits.fin), rst: has(tcpBits.rst) };
}

/** The error has to be for whoever sent what it is about, and from whom that went to. */
function aboutOf(packet: CardPacket, frame: Buffer, direction: Direction): Conversation | undefined {
  const at = packet.contentOffset + icmpHeaderBytes;
  if (frame.length < at + ipv4HeaderBytesMin) return undefined;
  const first = frame[at] ?? 0;
  const contentAt = at + (first & 0x0f) * 4;
  if (first >> 4 !== 4 || contentAt < at + ipv4HeaderBytesMin || frame.length < contentAt + icmpHeaderBytes)
    return undefined;
  const isLaterFragment = (frame.readUInt16BE(at + 6) & 0x1fff) !== 0;
  const source = frame.readUInt32BE(at + 12);
  const destination = frame.readUInt32BE(at + 16);
  if (isLaterFragment || source !== packet.destination || destination !== packet.source) return undefined;
  const protocol = frame[at + 9] ?? 0;
  const [other, back] = direction === "out" ? ([packet.destination, "in"] as const) : ([packet.source, "out"] as const);
  if (protocol === protocols.tcp || protocol === protocols.udp) {
    const ports = { source: frame.readUInt16BE(contentAt), destination: frame.readUInt16BE(contentAt + 2) };
    return { key: keyOfPorts(protocol, other, ports, back), part: "about", tcp: undefined };
  }
  if (protocol !== protocols.icmp)
    return { key: keyOf(kinds.other, other, protocol, 0), part: "about", tcp: undefined };
  if (frame[contentAt] !== echoes.ipv4.request) return undefined;
  const key = keyOf(kinds.echo, other, back === "out" ? 1 : 0, frame.readUInt16BE(contentAt + 4));
  return { key, part: "about", tcp: undefined };
}

function keyOfPorts(
  protocol: number,
  other: number,
  { source, destination }: NonNullable<CardPacket["ports"]>,
  direction: Direction,
): number {
  const kind = protocol === protocols.tcp ? kinds.tcp : kinds.udp;
  return direction === "out" ? keyOf(kind, other, source, destination) : keyOf(kind, other, destination, source);
}

function keyOf(kind: number, other: number, first: number, second: number): number {
  return ((kind * word + (other % word)) * word + first) * word + second;
}
