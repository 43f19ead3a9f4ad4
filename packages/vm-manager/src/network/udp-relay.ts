/**
 * Forwarded ports of UDP. The switch has their sockets itself: passt takes an answer to this machine only from a guest that may also
 * begin to speak with it. A datagram of the guest goes out here when it answers one that came in not long ago, and to nobody else.
 *
 *     no flow --datagram from whom the port admits--> flow: its answers go back --idle, or older than too many others--> no flow
 *     a port: closed --look--> open --error--> closed, for a while
 */
import { createSocket, type Socket } from "node:dgram";
import { type Ipv4Range, isInRange, messageOf, parseIpv4, parseIpv4Range } from "@blixard/common";
import type { ForwardState } from "@blixard/protocol";
import { dropOldest, flowKey } from "./flow-keys.ts";
import { gatewayMac } from "./gateway-mac.ts";
import { udpFrame, udpHeaderBytes } from "./ipv4-frame.ts";
import { macAt, protocols, readPacket } from "./packet.ts";
import type { PortForward, UserAddresses } from "./user-addresses.ts";

/** After the last datagram from outside (RFC 4787, 4.3: not less than two minutes). */
export const flowIdleMs = 180_000;
export const udpFlowsMax = 1_024;
/** What fits into one frame with a card of 1,500 bytes: nothing is cut in pieces. */
export const datagramBytesMax = 1_472;
const retryMs = 500;
/** What may wait for the network of this machine. */
const sendBytesMax = 256 * 1024;
const loopback = parseIpv4Range("127.0.0.0/8");

export interface UdpRelayDeps {
  /** Monotonic milliseconds. */
  readonly nowMs: () => number;
  readonly mac: string;
  readonly addresses: UserAddresses;
  /** A frame for the guest. */
  readonly send: (frame: Buffer) => void;
  /** The guest has enough to do. */
  readonly isFull: () => boolean;
}

interface RelayPort {
  readonly forward: PortForward;
  readonly sources: readonly Ipv4Range[] | undefined;
  socket: Socket | undefined;
  isOpen: boolean;
  notBeforeMs: number;
  problem: string | undefined;
}

interface Flow {
  readonly port: RelayPort;
  /** Of the one outside, as this machine knows it. */
  readonly address: string;
  readonly remotePort: number;
  readonly lastMs: number;
}

export class UdpRelay {
  readonly #deps: UdpRelayDeps;
  readonly #ports: readonly RelayPort[];
  /** By what the guest sees; the one that was used last stands last. */
  readonly #flows = new Map<string, Flow>();
  #closed = false;

  constructor(forwards: readonly PortForward[], deps: UdpRelayDeps) {
    this.#deps = deps;
    this.#ports = forwards.map((forward) => ({
      forward,
      sources: forward.sources?.map(parseIpv4Range),
      ...{ socket: undefined, isOpen: false, notBeforeMs: 0, problem: undefined },
    }));
  }

  /** Why a port is not open. */
  get problem(): string | undefined {
    return this.#ports.find(({ problem }) => problem !== undefined)?.problem;
  }

  get forwards(): readonly ForwardState[] {
    return this.#ports.map(({ forward: { port, listen }, problem, isOpen }) => {
      const shown = { port, listen, protocol: "udp" } as const;
      if (problem !== undefined) return { ...shown, state: "closed", why: problem };
      return { ...shown, state: isOpen ? "open" : "opening" };
    });
  }

  /** Called now and then: opens the ports that are not open, and forgets who has been silent for long. */
  look(): void {
    const nowMs = this.#deps.nowMs();
    for (const port of this.#ports) {
      if (port.socket === undefined && nowMs >= port.notBeforeMs && !this.#closed) this.#open(port);
    }
    for (const [key, { lastMs }] of this.#flows) {
      if (nowMs - lastMs < flowIdleMs) return;
      this.#flows.delete(key);
    }
  }

  /** Whether a frame of the guest answers somebody outside, and so is for nobody else. */
  takes(frame: Buffer): boolean {
    if (this.#flows.size === 0) return false;
    const { mac, addresses, nowMs } = this.#deps;
    const packet = readPacket(frame);
    if (packet?.type !== "ipv4" || packet.protocol !== protocols.udp || packet.ports === undefined) return false;
    const { source, destination, ports, contentOffset } = packet;
    if (source !== addresses.guest || macAt(frame, 6) !== mac) return false;
    const flow = this.#flows.get(flowKey(destination, ports.destination, ports.source));
    if (flow === undefined || nowMs() - flow.lastMs >= flowIdleMs) return false;
    const bytes = frame.readUInt16BE(contentOffset + 4);
    if (bytes < udpHeaderBytes || contentOffset + bytes > frame.length) return true;
    const { socket } = flow.port;
    if (socket === undefined || socket.getSendQueueSize() > sendBytesMax) return true;
    const content = frame.subarray(contentOffset + udpHeaderBytes, contentOffset + bytes);
    // Lost when it cannot be sent, as on a wire.
    socket.send(content, flow.remotePort, flow.address, () => {});
    return true;
  }

  close(): void {
    this.#closed = true;
    for (const { socket } of this.#ports) socket?.close();
    this.#flows.clear();
  }

  #open(port: RelayPort): void {
    const { listen, port: number, to } = port.forward;
    const socket = createSocket("udp4");
    port.socket = socket;
    socket.on("listening", () => {
      port.isOpen = true;
      port.problem = undefined;
    });
    socket.on("message", (content, { address, port: remotePort }) => this.#receive(port, content, address, remotePort));
    socket.on("error", (error) => {
      if (port.socket !== socket) return;
      port.socket = undefined;
      port.isOpen = false;
      port.notBeforeMs = this.#deps.nowMs() + retryMs;
      port.problem = `the UDP port ${listen}:${number}, which leads to ${to}, cannot be opened: ${messageOf(error)}`;
      socket.close();
    });
    socket.bind({ address: listen, port: number, exclusive: true });
  }

  #receive(port: RelayPort, content: Buffer, address: string, remotePort: number): void {
    const { mac, addresses, nowMs, send, isFull } = this.#deps;
    const source = parseIpv4(address);
    if (content.length > datagramBytesMax || remotePort === 0 || !admits(port, source)) return;
    const isLocal = isInRange(source, loopback);
    // The guest would look for such an address beside itself.
    if (!isLocal && isInRange(source, addresses.range)) return;
    const shown = isLocal ? addresses.gateway : source;
    const guestPort = port.forward.to;
    const key = flowKey(shown, remotePort, guestPort);
    this.#flows.delete(key);
    this.#flows.set(key, { port, address, remotePort, lastMs: nowMs() });
    dropOldest(this.#flows, udpFlowsMax);
    if (isFull()) return;
    const from = { mac: gatewayMac, address: shown, port: remotePort };
    send(udpFrame(from, { mac, address: addresses.guest, port: guestPort }, content));
  }
}

function admits({ sources }: RelayPort, source: number): boolean {
  return sources === undefined || sources.some((range) => isInRange(source, range));
}
