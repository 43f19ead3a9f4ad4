/** Ethernet frames as a test wants them. */
import { parseIpv4, parseIpv6 } from "@blixard/common";

export interface FrameWishes {
  readonly from?: string;
  readonly to?: string;
  readonly mac?: string;
  readonly protocol?: "tcp" | "udp" | "icmp";
  readonly sourcePort?: number;
  readonly port?: number;
  readonly syn?: boolean;
  readonly ack?: boolean;
  /** Flags and offset of a fragment, as they stand in the header. */
  readonly fragment?: number;
}

export const guestMac = "02:00:00:00:00:0a";
export const guestAddress = "10.0.2.15";

/** From the guest, a first segment of TCP to port 80 of a machine outside, where nothing else is wished. */
export function ipv4Frame(wishes: FrameWishes = {}): Buffer {
  const { from = guestAddress, to = "203.0.113.9", mac = guestMac, protocol = "tcp" } = wishes;
  const { sourcePort = 40_000, port = 80, syn = true, ack = false, fragment = 0 } = wishes;
  const frame = Buffer.alloc(54);
  frame.write("020000000002", 0, "hex");
  frame.write(mac.replaceAll(":", ""), 6, "hex");
  frame.writeUInt16BE(0x0800, 12);
  frame.writeUInt8(0x45, 14);
  frame.writeUInt16BE(40, 16);
  frame.writeUInt16BE(fragment, 20);
  frame.writeUInt8({ tcp: 6, udp: 17, icmp: 1 }[protocol], 23);
  frame.writeUInt32BE(parseIpv4(from), 26);
  frame.writeUInt32BE(parseIpv4(to), 30);
  frame.writeUInt16BE(sourcePort, 34);
  frame.writeUInt16BE(port, 36);
  frame.writeUInt8(0x50, 46);
  frame.writeUInt8((syn ? 0x02 : 0) | (ack ? 0x10 : 0), 47);
  return frame;
}

/** A question about a name, as a message of DNS. */
export function question(name: string, type = 1): Buffer {
  const labels = name.split(".").map((label) => Buffer.concat([Buffer.of(label.length), Buffer.from(label)]));
  return Buffer.concat([Buffer.from("beef01000001000000000000", "hex"), ...labels, Buffer.from([0, 0, type, 0, 1])]);
}

/** Who has the address `target`? */
export function arpFrame(from: string, target: string, { mac = guestMac, operation = 1 } = {}): Buffer {
  const frame = Buffer.alloc(42);
  const own = mac.replaceAll(":", "");
  frame.write(`ffffffffffff${own}080600010800060400`, 0, "hex");
  frame.writeUInt8(operation, 21);
  frame.write(own, 22, "hex");
  frame.writeUInt32BE(parseIpv4(from), 28);
  frame.writeUInt32BE(parseIpv4(target), 38);
  return frame;
}

export interface Ipv6Wishes {
  readonly from: string;
  readonly to: string;
  readonly mac: string;
  readonly toMac: string;
  /** Of TCP, where no other is wished. */
  readonly ports?: readonly [source: number, destination: number];
  readonly ack?: boolean;
  /** What stands behind the header instead, with the number of its protocol. */
  readonly content?: { readonly protocol: number; readonly hex: string };
}

/** A first segment of TCP to port 80 over IPv6, where nothing else is wished. */
export function ipv6Frame({ from, to, mac, toMac, ports = [40_000, 80], ack = false, content }: Ipv6Wishes): Buffer {
  const tcp = Buffer.alloc(20);
  tcp.writeUInt16BE(ports[0], 0);
  tcp.writeUInt16BE(ports[1], 2);
  tcp.writeUInt8(0x50, 12);
  tcp.writeUInt8(0x02 | (ack ? 0x10 : 0), 13);
  const { protocol, hex } = content ?? { protocol: 6, hex: tcp.toString("hex") };
  const header = Buffer.from("6000000000000040", "hex");
  header.writeUInt16BE(hex.length / 2, 4);
  header.writeUInt8(protocol, 6);
  const addresses = [from, to].map((address) => parseIpv6(address));
  const parts = [toMac, mac].map((each) => each.replaceAll(":", ""));
  return Buffer.from([...parts, "86dd", header.toString("hex"), ...addresses, hex].join(""), "hex");
}
