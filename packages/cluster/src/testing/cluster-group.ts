/** Several cluster nodes in one process, over a network and stores in memory, on the clock of the machine. */
import { type Clock, discardMetrics, fromUtf8, type Metrics, seededRandom, silentLogger, toHex } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import {
  type CallMeta,
  decodeTicket,
  type MethodName,
  type RequestOf,
  type ResponseOf,
  type ShownTicket,
  showTicket,
} from "@blixard/protocol";
import { MemoryLogStore, MemorySnapshotStore } from "@blixard/raft/testing";
import type { ClusterNode, HeldBackNode, StartMode } from "../cluster-node-types.ts";
import type { ClusterNodeOptions } from "../options.ts";
import type { ClusterTransport } from "../ports/cluster-transport.ts";
import type { KeyRotation, NextKey } from "../ports/key-rotation.ts";
import type { OwnTokenStore } from "../ports/own-token.ts";
import type { JoinSeed, JoinTarget } from "../start/join-flow.ts";
import { startClusterNode } from "../start/start-cluster-node.ts";
import { madeUpSealing } from "./made-up-sealing.ts";
import { madeUpSignatures } from "./made-up-signatures.ts";
import { endpointIdOf, MemoryClusterNetwork } from "./memory-cluster-network.ts";
import { MemoryStateStore } from "./memory-state-store.ts";
import { MemoryVmManager } from "./memory-vm-manager.ts";
import { ticketCrypto } from "./ticket-crypto.ts";

export const { sha256 } = ticketCrypto;

export const adminToken = "the token of the first administrator";
export const clusterId = "test-cluster";
/** What a machine shows that joins without a ticket, on the host of the nodes. */
export const localProof = "a".repeat(64);

/** What outlives a node's process. */
export class Machine {
  log = new MemoryLogStore();
  readonly snapshots = new MemorySnapshotStore();
  stateStore = new MemoryStateStore();
  readonly vmManager = new MemoryVmManager();
  /** Options of this node beside those of the group: its release, for one. */
  options: Partial<ClusterNodeOptions> = {};
  metrics: Metrics = discardMetrics;
  /** Absent: the others do not ask which store it is. */
  store: { readonly storeId: string; readonly starts: number } | undefined;
  /** Absent: this node has no token of its own, and somebody else holds the first administrator's. */
  ownToken: MemoryTokenStore | undefined;
  /** The key file of this node. Absent: the node keeps its first key. */
  keys: MemoryKeyFile | undefined;
  seed: JoinSeed | undefined;
  /** Of the last start. */
  transport: ClusterTransport | undefined;
  node: ClusterNode | undefined;
  fatal: unknown;
  /** Answers while the start does not go on. */
  heldBack: HeldBackNode | undefined;
  stop: () => Promise<void> = async () => {};
  /** Gives up a start that is under way. */
  abort: (reason: Error) => Promise<void> = async () => {};
}

/** The file of a node's own token. */
export class MemoryTokenStore implements OwnTokenStore {
  text: string | undefined;

  constructor(text?: string) {
    this.text = text;
  }

  async read(): Promise<string | undefined> {
    return this.text;
  }
  async write(text: string): Promise<void> {
    this.text = text;
  }
  async remove(): Promise<void> {
    this.text = undefined;
  }
}

/** The key file of a node, with made-up keys. Who changes it starts the node again. */
export class MemoryKeyFile implements KeyRotation {
  key: string;
  nextKey: string | undefined;
  /** Called before the file changes; may throw, as a crash. */
  beforeUse: () => void = () => {};

  constructor(key: string) {
    this.key = key;
  }

  async next(): Promise<NextKey> {
    this.nextKey ??= toHex(sha256(fromUtf8(this.key)));
    return { endpointId: this.nextKey, sign: madeUpSignatures(this.nextKey).sign };
  }
  async use(endpointId: string): Promise<void> {
    this.beforeUse();
    if (endpointId !== this.nextKey) throw new Error("this is not the next key");
    this.key = endpointId;
    this.nextKey = undefined;
  }
}

export class ClusterGroup {
  readonly random = seededRandom(1);
  readonly network = new MemoryClusterNetwork(this.random);
  readonly #machines = new Map<number, Machine>();
  readonly #options: Partial<ClusterNodeOptions>;
  #requests = 0;
  /** Added to the wall time of all nodes, which is otherwise that of the machine. */
  clockOffsetMs = 0;
  readonly clock: Clock = { ...systemClock, unixMs: () => systemClock.unixMs() + this.clockOffsetMs };

  constructor(options: Partial<ClusterNodeOptions> = {}) {
    this.#options = options;
  }

  machine(id: number): Machine {
    const machine = this.#machines.get(id) ?? new Machine();
    this.#machines.set(id, machine);
    return machine;
  }

  node(id: number): ClusterNode {
    const { node } = this.machine(id);
    if (node === undefined) throw new Error(`node ${id} does not run`);
    return node;
  }

  /** Starts a node on what its machine holds. */
  async start(id: number, how: StartMode): Promise<ClusterNode> {
    const machine = this.machine(id);
    const key = machine.keys?.key ?? endpointIdOf(id);
    const { transport, leave } = this.network.join(id, key);
    const stopping = new AbortController();
    machine.transport = transport;
    machine.node = undefined;
    machine.heldBack = undefined;
    const started = startClusterNode(
      {
        clock: this.clock,
        random: this.random,
        logger: silentLogger,
        metrics: machine.metrics,
        ...{ sha256, ticketCrypto },
        signatures: madeUpSignatures(key),
        sealing: madeUpSealing(key),
        log: machine.log,
        snapshots: machine.snapshots,
        stateStore: machine.stateStore,
        transport,
        localJoins: { check: ({ proof }) => (proof === localProof ? "proved" : "unproved") },
        startVmManager: async () => machine.vmManager,
        ...(machine.store === undefined ? {} : { store: machine.store }),
        ...(machine.keys === undefined ? {} : { keyRotation: machine.keys }),
        ...(machine.ownToken === undefined ? {} : { ownToken: machine.ownToken }),
        onHeldBack: (held) => {
          machine.heldBack = held;
        },
        onFatal: (error) => {
          machine.fatal = error;
        },
      },
      {
        nodeId: id,
        version: "0.0.0-test",
        leaderIntervalMs: 20,
        retryDelayMs: 20,
        removalProbeMs: 200,
        unknownAfterMs: 50,
        reachableWithinMs: 1_000,
        ...this.#options,
        ...machine.options,
        raft: { tickIntervalMs: 10, electionTimeoutMs: 200, heartbeatIntervalMs: 40, ...this.#options.raft },
      },
      how,
      { signal: stopping.signal },
    );
    machine.abort = async (reason) => {
      stopping.abort(reason);
      await started.catch(() => {});
    };
    machine.stop = async () => {
      leave();
      stopping.abort();
      const node = await started.catch(() => undefined);
      await node?.close();
    };
    machine.node = await started;
    return machine.node;
  }

  async bootstrap(id = 1): Promise<ClusterNode> {
    const node = await this.start(id, { mode: "bootstrap", clusterId, tokenHash: toHex(sha256(fromUtf8(adminToken))) });
    await node.untilReady();
    return node;
  }

  async ticket(request: Partial<RequestOf<"ticket.create">> = {}): Promise<string> {
    return (await this.call(1, "ticket.create", { role: "voter", ...request })).ticket;
  }

  /** The ticket as node or person `holder` shows it to node `asked`. */
  shown(ticketText: string, holder: number, asked = 1): ShownTicket {
    const keys = { holder: endpointIdOf(holder), asked: endpointIdOf(asked) };
    return showTicket(decodeTicket(ticketText), keys, ticketCrypto);
  }

  /** Whom the ticket names, and how node `holder` shows it to them. */
  target(ticketText: string, holder: number): JoinTarget {
    const ticket = decodeTicket(ticketText);
    const show = (asked: string) => showTicket(ticket, { holder: endpointIdOf(holder), asked }, ticketCrypto);
    return { endpoints: ticket.endpoints, clusterId: ticket.clusterId, ticket: show };
  }

  /** Joins by ticket and resolves when the node has caught up. */
  async join(id: number, ticketText: string): Promise<ClusterNode> {
    const machine = this.machine(id);
    const node = await this.start(id, {
      mode: "join",
      target: this.target(ticketText, id),
      timeoutMs: 5_000,
      onAdmitted: async (seed) => {
        machine.seed = seed;
      },
    });
    await node.untilReady();
    return node;
  }

  /** A cluster of nodes 1 to `count`, all of them voters. */
  async form(count: number): Promise<void> {
    await this.bootstrap();
    for (let id = 2; id <= count; id++) await this.join(id, await this.ticket());
    await this.untilVoters(count);
  }

  /** Starts a node that was stopped on another, empty store: it asks those that run to let it in again. */
  async rejoin(id: number): Promise<ClusterNode> {
    const endpoints = this.nodes().flatMap(({ state, lifecycle }) =>
      lifecycle.value.phase === "serving" ? [...state.nodes.values()].filter((node) => node.id !== id) : [],
    );
    const machine = new Machine();
    machine.store = { storeId: toHex(this.random.bytes(16)), starts: 1 };
    this.#machines.set(id, machine);
    const onAdmitted = async (seed: JoinSeed) => {
      machine.seed = seed;
    };
    const target = { endpoints, ticket: null };
    return this.start(id, { mode: "join", target, timeoutMs: 5_000, onAdmitted });
  }

  async restart(id: number): Promise<ClusterNode> {
    await this.machine(id).stop();
    const { seed } = this.machine(id);
    return this.start(id, { mode: "resume", ...(seed === undefined ? {} : { seed }) });
  }

  async untilVoters(count: number): Promise<void> {
    await until(() => this.nodes().every((node) => node.status().members.length === count));
    await until(() => {
      const members = this.leader()?.status().members ?? [];
      return members.length === count && members.every((member) => member.matchIndex !== null);
    });
    await until(() => [...this.#machines.values()].every(({ node }) => node?.status().role !== "learner"));
  }

  nodes(): ClusterNode[] {
    return [...this.#machines.values()].flatMap(({ node }) => (node === undefined ? [] : [node]));
  }

  leader(): ClusterNode | undefined {
    return this.nodes().find((node) => node.lifecycle.value.phase === "serving" && node.isLeader());
  }

  leaderId(): number {
    for (const [id, { node }] of this.#machines) {
      if (node?.lifecycle.value.phase === "serving" && node.isLeader()) return id;
    }
    return 0;
  }

  meta(options: Partial<CallMeta> = {}): CallMeta {
    this.#requests++;
    const actor = { kind: "token", id: "admin" } as const;
    const requestId = `request-${this.#requests}`;
    return { requestId, actor, access: "admin", timeoutMs: 10_000, stale: false, hops: 0, ...options };
  }

  call<Name extends MethodName>(
    id: number,
    name: Name,
    request: RequestOf<Name>,
    options: Partial<CallMeta> = {},
  ): Promise<ResponseOf<Name>> {
    return this.node(id).call(name, request, this.meta(options));
  }

  async close(): Promise<void> {
    for (const machine of this.#machines.values()) await machine.stop();
  }
}

const pollMs = 5;
const giveUpMs = 120_000;

/** Waits for a level that no single watch shows. */
export async function until(holds: () => boolean): Promise<void> {
  const endMs = systemClock.monotonicMs() + giveUpMs;
  while (!holds()) {
    if (systemClock.monotonicMs() > endMs) throw new Error(`waited in vain for: ${holds.toString()}`);
    await new Promise<void>((resolve) => systemClock.setTimer(pollMs, resolve));
  }
}
