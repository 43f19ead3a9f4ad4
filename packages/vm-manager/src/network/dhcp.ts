/**
 * Gives the guest of a network `user` its one address (DHCP, RFC 2131 and 2132). passt could, but where the resolver of this machine
 * is on loopback it would name none to the guest.
 */
import { frameBytesMax } from "./frame-reader.ts";
import { etherHeaderBytes, protocols, readPacket } from "./packet.ts";
import { gatewayMac, type UserAddresses } from "./user-addresses.ts";

const serverPort = 67;
const clientPort = 68;
const ipv4HeaderBytes = 20;
const udpHeaderBytes = 8;
const cookieOffset = 236;
const cookie = 0x6382_5363;
/** What a client has to take (RFC 2131, 2). */
const messageBytesMin = 300;
const leaseSeconds = 24 * 3_600;

const messageTypes = { discover: 1, offer: 2, request: 3, decline: 4, ack: 5, nak: 6, inform: 8 } as const;
const options = { mask: 1, router: 3, resolver: 6, asked: 50, leaseTime: 51, type: 53, server: 54, end: 255 } as const;

/** Whether a frame of the guest is for the server of addresses; nobody else gets it. */
export function isDhcpRequest(frame: Buffer): boolean {
  const packet = readPacket(frame);
  return packet?.type === "ipv4" && packet.protocol === protocols.udp && packet.ports?.destination === serverPort;
}

/** The frame that answers; undefined when nothing is to be said. */
export function answerDhcp(frame: Buffer, mac: string, addresses: UserAddresses): Buffer | undefined {
  const packet = readPacket(frame);
  if (packet?.type !== "ipv4") return undefined;
  const message = frame.subarray(packet.contentOffset + udpHeaderBytes);
  if (message.length < cookieOffset + 4 || message.readUInt32BE(cookieOffset) !== cookie) return undefined;
  // A request over Ethernet, from this card.
  if (message.readUInt32BE(0) >>> 8 !== 0x01_01_06 || message.toString("hex", 28, 34) !== hexOf(mac)) return undefined;
  const given = readOptions(message.subarray(cookieOffset + 4));
  const type = answerTypeOf(given, message.readUInt32BE(12), addresses);
  return type === undefined ? undefined : frameOf(mac, addresses, dhcpMessage(message, type, addresses));
}

function answerTypeOf(
  given: ReadonlyMap<number, Buffer>,
  clientAddress: number,
  { guest, gateway }: UserAddresses,
): number | undefined {
  const type = given.get(options.type)?.[0];
  if (type === messageTypes.discover) return messageTypes.offer;
  if (type === messageTypes.inform) return messageTypes.ack;
  if (type !== messageTypes.request) return undefined;
  const server = addressIn(given.get(options.server));
  if (server !== undefined && server !== gateway) return undefined;
  return (addressIn(given.get(options.asked)) ?? clientAddress) === guest ? messageTypes.ack : messageTypes.nak;
}

function dhcpMessage(request: Buffer, type: number, { guest, gateway, resolver, range }: UserAddresses): Buffer {
  const message = Buffer.alloc(messageBytesMin);
  message.write("02010600", 0, "hex");
  // Transaction, flags and hardware address stay those of the request.
  request.copy(message, 4, 4, 8);
  request.copy(message, 10, 10, 12);
  request.copy(message, 28, 28, 44);
  const refused = type === messageTypes.nak;
  message.writeUInt32BE(refused ? 0 : guest, 16);
  message.writeUInt32BE(cookie, cookieOffset);
  let at = cookieOffset + 4;
  at = message.writeUInt8(options.type, at);
  at = message.writeUInt8(1, at);
  at = message.writeUInt8(type, at);
  const put = (option: number, value: number) => {
    at = message.writeUInt8(option, at);
    at = message.writeUInt8(4, at);
    at = message.writeUInt32BE(value, at);
  };
  put(options.server, gateway);
  if (!refused) {
    put(options.leaseTime, leaseSeconds);
    put(options.mask, range.mask);
    put(options.router, gateway);
    put(options.resolver, resolver);
  }
  message.writeUInt8(options.end, at);
  return message;
}

/** To everybody on the wire, where the guest is alone: it may have no address yet. */
function frameOf(mac: string, { gateway }: UserAddresses, message: Buffer): Buffer {
  const udpAt = etherHeaderBytes + ipv4HeaderBytes;
  const frame = Buffer.alloc(udpAt + udpHeaderBytes + message.length);
  frame.write(hexOf(mac), 0, "hex");
  frame.write(hexOf(gatewayMac), 6, "hex");
  frame.writeUInt16BE(0x0800, 12);
  const ip = frame.subarray(etherHeaderBytes, udpAt);
  ip.writeUInt8(0x45, 0);
  ip.writeUInt16BE(frame.length - etherHeaderBytes, 2);
  ip.writeUInt8(64, 8);
  ip.writeUInt8(protocols.udp, 9);
  ip.writeUInt32BE(gateway, 12);
  ip.writeUInt32BE(0xffff_ffff, 16);
  ip.writeUInt16BE(checksumOf(ip), 10);
  frame.writeUInt16BE(serverPort, udpAt);
  frame.writeUInt16BE(clientPort, udpAt + 2);
  // UDP over IPv4 may do without a checksum (RFC 768).
  frame.writeUInt16BE(udpHeaderBytes + message.length, udpAt + 4);
  message.copy(frame, udpAt + udpHeaderBytes);
  return frame;
}

/** RFC 1071. */
function checksumOf(header: Buffer): number {
  let sum = 0;
  for (let at = 0; at < header.length; at += 2) sum += header.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function readOptions(bytes: Buffer): ReadonlyMap<number, Buffer> {
  const found = new Map<number, Buffer>();
  let at = 0;
  while (at < Math.min(bytes.length, frameBytesMax)) {
    const option = bytes[at] ?? options.end;
    if (option === options.end) break;
    if (option === 0) {
      at++;
      continue;
    }
    const length = bytes[at + 1] ?? 0;
    found.set(option, bytes.subarray(at + 2, at + 2 + length));
    at += 2 + length;
  }
  return found;
}

function addressIn(value: Buffer | undefined): number | undefined {
  return value?.length === 4 ? value.readUInt32BE(0) : undefined;
}

function hexOf(mac: string): string {
  return mac.replaceAll(":", "");
}
