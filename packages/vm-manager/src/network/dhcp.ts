/**
 * Gives a network card its one address (DHCP, RFC 2131 and 2132). In a network `user` passt could, but where the resolver of this
 * machine is on loopback it would name none to the guest.
 */
import { frameBytesMax } from "./frame-reader.ts";
import { gatewayMac } from "./gateway-mac.ts";
import { hexOf, udpFrame, udpHeaderBytes } from "./ipv4-frame.ts";
import { protocols, readPacket } from "./packet.ts";

const serverPort = 67;
const clientPort = 68;
const cookieOffset = 236;
const cookie = 0x6382_5363;
/** At least 300 (RFC 1542, 2.1), and as much as the longest domain needs; a client takes more (RFC 2131, 2). */
const messageBytes = 400;
const leaseSeconds = 24 * 3_600;

const messageTypes = { discover: 1, offer: 2, request: 3, decline: 4, ack: 5, nak: 6, inform: 8 } as const;
const options = {
  mask: 1,
  router: 3,
  resolver: 6,
  domain: 15,
  asked: 50,
  leaseTime: 51,
  type: 53,
  server: 54,
  end: 255,
} as const;

/** What a card is told. */
export interface DhcpLease {
  readonly guest: number;
  /** Who tells it. */
  readonly server: number;
  readonly mask: number;
  readonly resolver: number;
  /** The way to everywhere else; absent where there is none. */
  readonly router?: number;
  /** In which short names are looked up. */
  readonly domain?: string;
}

/** Whether a frame of the guest is for the server of addresses; nobody else gets it. */
export function isDhcpRequest(frame: Buffer): boolean {
  const packet = readPacket(frame);
  return packet?.type === "ipv4" && packet.protocol === protocols.udp && packet.ports?.destination === serverPort;
}

/** The frame that answers; undefined when nothing is to be said. */
export function answerDhcp(frame: Buffer, mac: string, lease: DhcpLease): Buffer | undefined {
  const packet = readPacket(frame);
  if (packet?.type !== "ipv4") return undefined;
  const message = frame.subarray(packet.contentOffset + udpHeaderBytes);
  if (message.length < cookieOffset + 4 || message.readUInt32BE(cookieOffset) !== cookie) return undefined;
  // A request over Ethernet, from this card.
  if (message.readUInt32BE(0) >>> 8 !== 0x01_01_06 || message.toString("hex", 28, 34) !== hexOf(mac)) return undefined;
  const given = readOptions(message.subarray(cookieOffset + 4));
  const type = answerTypeOf(given, message.readUInt32BE(12), lease);
  if (type === undefined) return undefined;
  // To everybody on the wire, which is the wire of this card alone: it may have no address yet.
  const from = { mac: gatewayMac, address: lease.server, port: serverPort };
  return udpFrame(from, { mac, address: 0xffff_ffff, port: clientPort }, dhcpMessage(message, type, lease));
}

function answerTypeOf(given: ReadonlyMap<number, Buffer>, clientAddress: number, lease: DhcpLease): number | undefined {
  const type = given.get(options.type)?.[0];
  if (type === messageTypes.discover) return messageTypes.offer;
  if (type === messageTypes.inform) return messageTypes.ack;
  if (type !== messageTypes.request) return undefined;
  const server = addressIn(given.get(options.server));
  if (server !== undefined && server !== lease.server) return undefined;
  return (addressIn(given.get(options.asked)) ?? clientAddress) === lease.guest ? messageTypes.ack : messageTypes.nak;
}

function dhcpMessage(request: Buffer, type: number, lease: DhcpLease): Buffer {
  const { guest, server, mask, resolver, router, domain } = lease;
  const message = Buffer.alloc(messageBytes);
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
  put(options.server, server);
  if (!refused) {
    put(options.leaseTime, leaseSeconds);
    put(options.mask, mask);
    if (router !== undefined) put(options.router, router);
    put(options.resolver, resolver);
    if (domain !== undefined) {
      at = message.writeUInt8(options.domain, at);
      at = message.writeUInt8(domain.length, at);
      at += message.write(domain, at, "latin1");
    }
  }
  message.writeUInt8(options.end, at);
  return message;
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
