/**
 * The private networks of a node: which ports are in which, what the state says of them, and where a frame goes. A frame of a guest
 * goes to a port of this switch or over the lane to the switch of another node; one of another node goes to a port here.
 */
import { lengthBytes, withLength } from "../frame-reader.ts";
import { gatewayMac } from "../gateway-mac.ts";
import { CardWall, cardFlowsMax } from "./card-wall.ts";
import { encodeRecords, type LaneRecord, laneFrameBytesMax } from "./lane-record.ts";
import { type NetworkHost, type NetworksOfNode, NetworkTable } from "./network-table.ts";
import type { ConnectionEnds, PrivatePort } from "./private-port.ts";
import { type DropReason, dropReasons, type Verdict, verdictOnGuest, verdictOnNode } from "./private-wall.ts";
import type { Direction } from "./security-rules.ts";

export type FabricPort = Pick<PrivatePort, "config" | "macNumber" | "deliver" | "takes">;

/** Takes records for the switch of a node. Undefined, or why they are lost. */
export type SendToNode = (nodeId: number, records: Buffer) => DropReason | undefined;

/** What the cards of a node with security groups remember together: some 11 MiB of the 48 that a switch has. */
const flowsMax = 64 * 1024;
/** What is over is forgotten so often. */
const sweepMs = 5_000;

type Passing = Extract<Verdict, { readonly type: "pass" }>;

export class Fabric {
  readonly #send: SendToNode;
  readonly #nowMs: () => number;
  readonly #ports = new Map<string, Map<string, FabricPort>>();
  readonly #drops = new Map<DropReason, number>(dropReasons.map((reason) => [reason, 0]));
  /** Of ports whose cards have security groups. */
  readonly #walls = new Map<FabricPort, CardWall>();
  #sweptMs = 0;
  #tables: ReadonlyMap<string, NetworkTable> = new Map();
  #nodeId = 0;

  /** `nowMs`: monotonic milliseconds. */
  constructor(send: SendToNode, nowMs: () => number) {
    this.#send = send;
    this.#nowMs = nowMs;
  }

  /** Frames that went no further since the start, by reason. */
  get drops(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#drops);
  }

  setNetworks({ nodeId, networks }: NetworksOfNode): void {
    this.#nodeId = nodeId;
    this.#tables = new Map(networks.map((config) => [config.networkId, new NetworkTable(config)]));
  }

  /** Called now and then. */
  look(): void {
    const nowMs = this.#nowMs();
    if (nowMs - this.#sweptMs < sweepMs) return;
    this.#sweptMs = nowMs;
    for (const wall of this.#walls.values()) wall.sweep();
  }

  tableOf(networkId: string): NetworkTable | undefined {
    return this.#tables.get(networkId);
  }

  /** The other nodes with VMs in the network. */
  nodesOf(networkId: string): ReadonlySet<number> {
    const hosts = this.#tables.get(networkId)?.config.hosts ?? [];
    return new Set(hosts.map(({ node }) => node).filter((node) => node !== this.#nodeId));
  }

  /** The address of the switch and that of the card, between which connections into the guest are; undefined while it has no place. */
  endsOf(port: Pick<FabricPort, "config" | "macNumber">): ConnectionEnds | undefined {
    const table = this.#tables.get(port.config.networkId);
    const placed = table === undefined ? undefined : this.#placed(port, table);
    if (table === undefined || placed === undefined) return undefined;
    const { mac, address } = placed;
    return { own: { mac: gatewayMac, address: table.config.server }, guest: { mac, address } };
  }

  add(port: FabricPort): void {
    const { networkId, mac } = port.config;
    const ports = this.#ports.get(networkId) ?? new Map<string, FabricPort>();
    this.#ports.set(networkId, ports.set(mac, port));
  }

  remove(port: FabricPort): void {
    this.#walls.delete(port);
    const { networkId, mac } = port.config;
    const ports = this.#ports.get(networkId);
    if (ports?.get(mac) !== port) return;
    ports.delete(mac);
    if (ports.size === 0) this.#ports.delete(networkId);
  }

  /** Frames with their lengths in front. */
  fromGuest(port: FabricPort, frames: readonly Buffer[]): void {
    const table = this.#tables.get(port.config.networkId);
    const own = table === undefined ? undefined : this.#placed(port, table);
    if (table === undefined || own === undefined) {
      this.#count("not_placed", frames.length);
      return;
    }
    const here = new Map<NetworkHost, Buffer[]>();
    const away = new Map<number, Buffer[]>();
    for (const frame of frames) {
      const content = frame.subarray(lengthBytes);
      const verdict = verdictOnGuest(content, own, table);
      if (verdict.type === "drop") this.#count(verdict.reason);
      else if (verdict.type === "own") {
        if (!port.takes(content)) this.#count("nobody_there");
      } else if (verdict.type === "answer") this.#deliver(port, withLength(verdict.frame), 1);
      else if (this.#isRefused(port, content, verdict, "out", table)) continue;
      else if (verdict.to.node === this.#nodeId) {
        if (!this.#isKeptFrom(content, verdict, table)) addTo(here, verdict.to, frame);
      } else if (content.length > laneFrameBytesMax) this.#count("not_understood");
      else addTo(away, verdict.to.node, content);
    }
    for (const [to, some] of here) this.#deliverTo(to, table, some);
    for (const [nodeId, some] of away) {
      const lost = this.#send(nodeId, encodeRecords(table.config.networkId, own.epoch, some));
      if (lost !== undefined) this.#count(lost, some.length);
    }
  }

  /** What the switch of a node sent, which that node proved by its key. */
  fromNode(node: number, records: readonly (LaneRecord | undefined)[]): void {
    for (const record of records) {
      const table = record === undefined ? undefined : this.#tables.get(record.networkId);
      if (record === undefined || table === undefined) {
        this.#count(record === undefined ? "not_understood" : "not_placed");
        continue;
      }
      const verdict = verdictOnNode(record.frame, { node, epoch: record.epoch }, table);
      if (verdict.type === "drop") this.#count(verdict.reason);
      else if (verdict.type === "pass" && !this.#isKeptFrom(record.frame, verdict, table)) {
        this.#deliverTo(verdict.to, table, [withLength(record.frame)]);
      }
    }
  }

  /** Whether the security groups of the card that a frame is for keep it from there. Whoever sent it, they are looked at here. */
  #isKeptFrom(frame: Buffer, passing: Passing, table: NetworkTable): boolean {
    const port = this.#ports.get(table.config.networkId)?.get(passing.to.mac);
    return port !== undefined && this.#isRefused(port, frame, passing, "in", table);
  }

  #isRefused(
    port: FabricPort,
    frame: Buffer,
    { packet, from, to }: Passing,
    direction: Direction,
    table: NetworkTable,
  ): boolean {
    const [own, other] = direction === "out" ? [from, to] : [to, from];
    const rules = table.rulesOf(own);
    if (rules === undefined) {
      this.#walls.delete(port);
      return false;
    }
    // Rules are about cards, so a frame is to be for the address of the card that gets it.
    const refusal =
      packet.destination === to.address
        ? this.#wallOf(port).refuses({ packet, frame, direction, other, rules })
        : "nobody_there";
    if (refusal !== undefined) this.#count(refusal);
    return refusal !== undefined;
  }

  #wallOf(port: FabricPort): CardWall {
    const wall =
      this.#walls.get(port) ?? new CardWall(this.#nowMs, () => Math.min(cardFlowsMax, flowsMax / this.#walls.size));
    this.#walls.set(port, wall);
    return wall;
  }

  #deliverTo(to: NetworkHost, table: NetworkTable, frames: readonly Buffer[]): void {
    const port = this.#ports.get(table.config.networkId)?.get(to.mac);
    if (port === undefined || this.#placed(port, table) !== to) this.#count("nobody_there", frames.length);
    else this.#deliver(port, Buffer.concat(frames), frames.length);
  }

  #deliver(port: FabricPort, bytes: Buffer, count: number): void {
    if (!port.deliver(bytes)) this.#count("full", count);
  }

  /** The card of the port, when the state places it here in the epoch of its process. */
  #placed(
    { config, macNumber }: Pick<FabricPort, "config" | "macNumber">,
    table: NetworkTable,
  ): NetworkHost | undefined {
    const host = table.hostOf(macNumber);
    return host?.node === this.#nodeId && host.epoch === config.epoch ? host : undefined;
  }

  #count(reason: DropReason, frames = 1): void {
    this.#drops.set(reason, (this.#drops.get(reason) ?? 0) + frames);
  }
}

function addTo<Key>(lists: Map<Key, Buffer[]>, key: Key, value: Buffer): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else list.push(value);
}
