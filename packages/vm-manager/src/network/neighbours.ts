/**
 * Says who has an address of IPv6 (neighbour discovery, RFC 4861), and which network a guest is in, so that it gives itself the
 * address that follows from that and its MAC address (RFC 4862).
 */
import { eui64AddressOf } from "@blixard/common";
import { gatewayMac } from "./gateway-mac.ts";
import { checksumOf, hexOf } from "./ipv4-frame.ts";
import { icmpv6, ipv6HeaderBytes } from "./ipv6-packet.ts";
import { etherHeaderBytes } from "./packet.ts";

export const icmpv6Types = {
  listenerQuery: 130,
  listenerDone: 132,
  routerSolicitation: 133,
  routerAdvertisement: 134,
  neighbourSolicitation: 135,
  redirect: 137,
  listenerReports: 143,
} as const;

export const unspecified = "0".repeat(32);
const linkLocalNetwork = "fe80000000000000";
const switchAddress = eui64AddressOf(linkLocalNetwork, gatewayMac);
/** What is said to neighbours comes from one: no router lets it pass. */
const hopLimit = 255;
const contentAt = etherHeaderBytes + ipv6HeaderBytes;

/** Whom a guest looks for; undefined where the question is cut. */
export function targetOf(frame: Buffer): string | undefined {
  return frame.length < contentAt + 24 ? undefined : frame.toString("hex", contentAt + 8, contentAt + 24);
}

interface Asked {
  readonly mac: string;
  /** From which it asked. */
  readonly address: string;
}

/** The frame that tells `asked` which card has `target`. */
export function neighbourAdvertisement(found: { readonly mac: string; readonly target: string }, asked: Asked): Buffer {
  // Solicited, and to take the place of what was known.
  const said = Buffer.from(`8800000060000000${found.target}0201${hexOf(found.mac)}`, "hex");
  return icmpFrame(said, found.target, asked);
}

/** The network of the first 16 digits: on the link, and for addresses that a guest gives itself, for ever. No router is there. */
export function routerAdvertisement(network: string, asked: Asked): Buffer {
  const header = `8600000040000000${"0".repeat(16)}`;
  const prefix = `030440c0ffffffffffffffff00000000${network}${"0".repeat(16)}`;
  return icmpFrame(Buffer.from(header + prefix, "hex"), switchAddress, asked);
}

function icmpFrame(content: Buffer, source: string, { mac, address }: Asked): Buffer {
  const frame = Buffer.alloc(contentAt + content.length);
  frame.write(hexOf(mac) + hexOf(gatewayMac), 0, "hex");
  frame.writeUInt16BE(0x86dd, 12);
  frame.writeUInt8(0x60, etherHeaderBytes);
  frame.writeUInt16BE(content.length, etherHeaderBytes + 4);
  frame.writeUInt8(icmpv6, etherHeaderBytes + 6);
  frame.writeUInt8(hopLimit, etherHeaderBytes + 7);
  frame.write(source + address, etherHeaderBytes + 8, "hex");
  content.copy(frame, contentAt);
  frame.writeUInt16BE(icmpChecksumOf(frame), contentAt + 2);
  return frame;
}

/** Over the addresses too (RFC 8200, section 8.1). */
function icmpChecksumOf(frame: Buffer): number {
  const pseudo = Buffer.alloc(8);
  pseudo.writeUInt32BE(frame.length - contentAt, 0);
  pseudo.writeUInt8(icmpv6, 7);
  return checksumOf(
    Buffer.concat([frame.subarray(etherHeaderBytes + 8, contentAt), pseudo, frame.subarray(contentAt)]),
  );
}
