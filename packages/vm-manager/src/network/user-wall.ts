/**
 * The wall between a guest in its network `user` and the node. passt connects with sockets of this machine, so whatever is reached
 * from the machine would be reached from the guest: also what listens on the addresses of the machine itself. Here frames of the
 * guest are dropped by their destination, before passt sees them. What is not understood is dropped, IPv6 with it.
 *
 * A connection that came in through a forwarded port may be answered, also to an address of this machine, or one that the guest
 * may not reach by itself:
 *
 *     no flow --SYN to a forwarded port--> offered --more from outside--> open
 *     offered: the guest may answer with SYN and ACK;  open: with everything but a SYN
 *
 * passt takes datagrams for the guest from anybody, at each port of the machine from which the guest has sent one. Only whom the guest
 * has asked from there may answer. Datagrams that begin outside come through the relay, and not here.
 */
import { type Ipv4Range, isInRange, parseIpv4Range } from "@blixard/common";
import { dropOldest, flowKey } from "./flow-keys.ts";
import { etherHeaderBytes, type Ipv4Packet, macAt, protocols, readPacket } from "./packet.ts";
import type { PortForward, UserAddresses } from "./user-addresses.ts";

export interface UserWallOptions {
  readonly mac: string;
  readonly addresses: UserAddresses;
  readonly forwards: readonly PortForward[];
  /** Ranges that the guest may reach; undefined: all that is outside. */
  readonly egress?: readonly string[] | undefined;
  /** Whether an address is one of this machine, by which it reaches itself. */
  readonly isHostAddress: (address: number) => boolean;
  /** Monotonic milliseconds. */
  readonly nowMs: () => number;
}

/** Flows from addresses that the guest may not reach by itself, which are remembered; the oldest is forgotten first. */
export const flowsMax = 4_096;
/** So many of those to whom the guest sends datagrams may answer, each for so long after the last one (RFC 4787 asks for 120 s). */
export const askedMax = 4_096;
export const askedMs = 180_000;

/** "This" network, loopback, link-local, multicast, reserved and broadcast (RFC 6890). */
const neverReached = ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4"].map(parseIpv4Range);
const namesPort = 53;
const loopbackSource = parseIpv4Range("127.0.0.1").base;

export class UserWall {
  readonly #mac: string;
  readonly #addresses: UserAddresses;
  readonly #isHostAddress: UserWallOptions["isHostAddress"];
  /** Who may connect, by the port of the guest; undefined: everybody. */
  readonly #sources = new Map<number, readonly Ipv4Range[] | undefined>();
  readonly #egress: readonly Ipv4Range[] | undefined;
  readonly #flows = new Map<string, "offered" | "open">();
  /** When the guest sent a datagram there last, by flow. */
  readonly #asked = new Map<string, number>();
  readonly #nowMs: UserWallOptions["nowMs"];

  constructor({ mac, addresses, forwards, egress, isHostAddress, nowMs }: UserWallOptions) {
    this.#nowMs = nowMs;
    this.#mac = mac;
    this.#egress = egress?.map(parseIpv4Range);
    this.#addresses = addresses;
    this.#isHostAddress = isHostAddress;
    for (const forward of forwards) {
      // A port on loopback is open to this machine alone, by the address that it listens on.
      const sources = forward.sources ?? (forward.listen.startsWith("127.") ? ["127.0.0.0/8"] : undefined);
      const before = this.#sources.has(forward.to) ? this.#sources.get(forward.to) : [];
      const all =
        sources === undefined || before === undefined ? undefined : [...before, ...sources.map(parseIpv4Range)];
      this.#sources.set(forward.to, all);
    }
  }

  /** Whether a frame of the guest may go out. */
  letsOut(frame: Buffer): boolean {
    const packet = readPacket(frame);
    if (packet === undefined || macAt(frame, 6) !== this.#mac) return false;
    if (packet.type === "arp") return packet.senderMac === this.#mac && this.#isOwn(packet.sender);
    if (packet.source !== this.#addresses.guest) return false;
    const mayGo = !this.#isWalledOff(packet.destination) || this.#asksForName(packet) || this.#answersFlow(packet);
    if (mayGo) this.#rememberAsked(packet);
    return mayGo;
  }

  /** Whether a frame that may go out may leave the node too: the names of private networks are told here. */
  leavesNode(frame: Buffer): boolean {
    if (this.#egress?.length !== 0) return true;
    const packet = readPacket(frame);
    return packet?.type !== "ipv4" || !this.#asksForName(packet);
  }

  /** Whether a frame for the guest may come in. */
  letsIn(frame: Buffer): boolean {
    const packet = readPacket(frame);
    if (packet === undefined) return false;
    if (packet.type === "arp") return true;
    const { ports, source, flags } = packet;
    if (ports === undefined) return true;
    if (flags === undefined) return this.#wasAsked(flowKey(source, ports.source, ports.destination));
    const begins = flags.syn && !flags.ack;
    if (begins && !this.#mayConnect(source, ports.destination)) return false;
    if (!this.#isWalledOff(source)) return true;
    const key = flowKey(source, ports.source, ports.destination);
    if (begins) this.#remember(key, "offered");
    else if (this.#flows.has(key)) this.#remember(key, "open");
    return true;
  }

  /** An address of the guest in ARP: its own, or none, while it asks whether somebody else has it (RFC 5227). */
  #isOwn(address: number): boolean {
    return address === this.#addresses.guest || address === 0;
  }

  #isWalledOff(address: number): boolean {
    return (
      isInRange(address, this.#addresses.range) ||
      neverReached.some((range) => isInRange(address, range)) ||
      this.#egress?.some((range) => isInRange(address, range)) === false ||
      this.#isHostAddress(address)
    );
  }

  #asksForName({ destination, protocol, ports }: Ipv4Packet): boolean {
    return destination === this.#addresses.resolver && protocol === protocols.udp && ports?.destination === namesPort;
  }

  #answersFlow({ destination, ports, flags }: Ipv4Packet): boolean {
    if (ports === undefined || flags === undefined) return false;
    const flow = this.#flows.get(flowKey(destination, ports.destination, ports.source));
    if (flow === undefined) return false;
    return flags.syn ? flags.ack && flow === "offered" : true;
  }

  #mayConnect(source: number, port: number): boolean {
    if (!this.#sources.has(port)) return false;
    const ranges = this.#sources.get(port);
    // passt shows the gateway in place of the loopback address of this machine.
    const from = source === this.#addresses.gateway ? loopbackSource : source;
    return ranges === undefined || ranges.some((range) => isInRange(from, range));
  }

  #remember(key: string, flow: "offered" | "open"): void {
    if (this.#flows.get(key) === flow) return;
    this.#flows.set(key, flow);
    dropOldest(this.#flows, flowsMax);
  }

  #rememberAsked({ protocol, destination, ports }: Ipv4Packet): void {
    if (protocol !== protocols.udp || ports === undefined) return;
    const key = flowKey(destination, ports.destination, ports.source);
    // The last one that was asked stands last.
    this.#asked.delete(key);
    this.#asked.set(key, this.#nowMs());
    dropOldest(this.#asked, askedMax);
  }

  #wasAsked(key: string): boolean {
    const lastMs = this.#asked.get(key);
    return lastMs !== undefined && this.#nowMs() - lastMs <= askedMs;
  }
}

/** A frame in which the guest asks for its gateway: passt learns from it where the guest is. */
export function askForGateway(mac: string, { guest, gateway }: UserAddresses): Buffer {
  const frame = Buffer.alloc(etherHeaderBytes + 28);
  const own = Buffer.from(mac.replaceAll(":", ""), "hex");
  frame.fill(0xff, 0, 6);
  own.copy(frame, 6);
  frame.writeUInt16BE(0x0806, 12);
  frame.write("0001080006040001", etherHeaderBytes, "hex");
  own.copy(frame, etherHeaderBytes + 8);
  frame.writeUInt32BE(guest, etherHeaderBytes + 14);
  frame.writeUInt32BE(gateway, etherHeaderBytes + 24);
  return frame;
}
