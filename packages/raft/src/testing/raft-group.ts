/**
 * Several RaftNodes in one process, over a network that can be cut and a clock that is moved by hand: whole elections
 * and failures in milliseconds, the same each time for the same seed.
 */
import {
  BlixardError,
  type Clock,
  discardMetrics,
  fromUtf8,
  messageOf,
  seededRandom,
  silentLogger,
} from "@blixard/common";
import { asNodeId, type ConfChangeOp, type NodeId } from "../core/types.ts";
import type { RaftNodeOptions } from "../options.ts";
import type { LogStore, SnapshotCarrier, SnapshotStore } from "../ports.ts";
import { openRaftNode } from "../raft-node.ts";
import type { Applied, RaftNode } from "../raft-node-types.ts";
import { AppendLogMachine } from "./append-log-machine.ts";
import { MemoryLogStore } from "./memory-log-store.ts";
import { MemoryNetwork } from "./memory-network.ts";
import { MemorySnapshotStore } from "./memory-snapshot-store.ts";
import { settle, VirtualClock } from "./virtual-clock.ts";

export interface RaftGroupOptions {
  /** How many nodes start the group, with the ids from 1. */
  readonly voters: number;
  readonly seed?: number;
  /** For every node. */
  readonly options?: Partial<RaftNodeOptions>;
  /** Wraps the stores of a node, for example to make their writes fail. */
  readonly wrapLog?: (id: NodeId, log: LogStore, clock: Clock) => LogStore;
  readonly wrapSnapshots?: (id: NodeId, snapshots: SnapshotStore) => SnapshotStore;
  /** Another way for snapshots than messages, asked for at each start of a node. */
  readonly carrier?: (id: NodeId) => SnapshotCarrier | undefined;
}

export interface RaftMember {
  readonly id: NodeId;
  readonly node: RaftNode<number>;
  readonly log: LogStore;
  readonly snapshots: SnapshotStore;
  readonly machine: AppendLogMachine;
  /** What the node reported to onFatal. */
  readonly fatal: unknown[];
}

const stepMs = 10;
const waitMsDefault = 120_000;

export class RaftGroup {
  readonly clock = new VirtualClock();
  readonly network: MemoryNetwork;
  readonly members = new Map<NodeId, RaftMember>();
  readonly #options: RaftGroupOptions;
  readonly #seed: number;
  #starts = 0;

  private constructor(options: RaftGroupOptions) {
    this.#options = options;
    this.#seed = options.seed ?? 1;
    this.network = new MemoryNetwork({ random: seededRandom(this.#seed) });
  }

  /** Starts the first voters. */
  static async start(options: RaftGroupOptions): Promise<RaftGroup> {
    const group = new RaftGroup(options);
    const voters = Array.from({ length: options.voters }, (_, at) => asNodeId(at + 1));
    for (const id of voters) await group.#startNode(id, { bootstrap: { voters } });
    return group;
  }

  member(id: number): RaftMember {
    const member = this.members.get(asNodeId(id));
    if (member === undefined) throw new BlixardError("NOT_FOUND", `there is no node ${id}`);
    return member;
  }

  /** Starts a node that knows nobody and waits to be added. */
  addNode(id: number): Promise<RaftMember> {
    return this.#startNode(asNodeId(id), {});
  }

  async #startNode(id: NodeId, extra: Partial<RaftNodeOptions>, stores?: RaftMember): Promise<RaftMember> {
    this.#starts++;
    const inner = stores?.log ?? new MemoryLogStore();
    const log = stores === undefined ? (this.#options.wrapLog?.(id, inner, this.clock) ?? inner) : inner;
    const kept = stores?.snapshots ?? new MemorySnapshotStore();
    const snapshots = stores === undefined ? (this.#options.wrapSnapshots?.(id, kept) ?? kept) : kept;
    const machine = stores?.machine ?? new AppendLogMachine();
    const fatal: unknown[] = [];
    const snapshotCarrier = this.#options.carrier?.(id);
    const opening = openRaftNode<number>(
      {
        clock: this.clock,
        random: seededRandom(this.#seed * 1_000_003 + id * 101 + this.#starts),
        logger: silentLogger,
        metrics: discardMetrics,
        ...{ log, snapshots, stateMachine: machine },
        transport: this.network.transport(id),
        ...(snapshotCarrier === undefined ? {} : { snapshotCarrier }),
        onFatal: (error) => fatal.push(error),
      },
      { id, ...this.#options.options, ...extra },
    );
    const node = await this.during(`opening node ${id}`, opening);
    const member = { id, node, log, snapshots, machine, fatal };
    this.members.set(id, member);
    return member;
  }

  /** Stops a node; its stores stay as they are. */
  async stop(id: number): Promise<void> {
    const { node } = this.member(id);
    this.network.unbind(asNodeId(id));
    await node.close();
  }

  /** Starts a stopped node over its stores. */
  restart(id: number): Promise<RaftMember> {
    const stores = this.member(id);
    return this.#startNode(stores.id, {}, stores);
  }

  /** Moves the clock until `holds`. Fails with the state of every node after `waitMs` of virtual time. */
  async until(what: string, holds: () => boolean, waitMs = waitMsDefault): Promise<void> {
    await settle();
    for (let waitedMs = 0; !holds(); waitedMs += stepMs) {
      if (waitedMs >= waitMs) {
        throw new BlixardError("DEADLINE_EXCEEDED", `${what} (seed ${this.#seed}):\n${this.describe()}`);
      }
      await this.clock.advance(stepMs);
    }
  }

  /** Moves the clock until `work` ends. */
  async during<T>(what: string, work: Promise<T>, waitMs = waitMsDefault): Promise<T> {
    let ended = false;
    const end = () => {
      ended = true;
    };
    work.then(end, end);
    await this.until(what, () => ended, waitMs);
    return work;
  }

  /** The leader that may decide, with the highest term. */
  leader(): RaftMember | undefined {
    const leaders = [...this.members.values()].filter(({ node }) => node.status.value.ready);
    return leaders.sort((a, b) => b.node.status.value.term - a.node.status.value.term)[0];
  }

  async waitForLeader(except?: NodeId): Promise<RaftMember> {
    let found: RaftMember | undefined;
    await this.until("a leader", () => {
      const leader = this.leader();
      found = leader !== undefined && leader.id !== except ? leader : undefined;
      return found !== undefined;
    });
    return found as RaftMember;
  }

  /** Proposes a value on the leader. */
  async propose(value: string): Promise<Applied<number>> {
    const leader = await this.waitForLeader();
    return this.during(`proposing ${value}`, leader.node.propose(fromUtf8(value)));
  }

  async changeMembers(...changes: readonly ConfChangeOp[]): Promise<void> {
    const leader = await this.waitForLeader();
    const change = { version: changes.length > 1 ? 2 : 1, transition: "auto", changes } as const;
    await this.during("a membership change", leader.node.proposeConfChange(change));
  }

  /** Waits until the given nodes, or all, have applied what the leader has committed. */
  async waitForEqualState(...ids: readonly number[]): Promise<void> {
    const members = ids.length === 0 ? [...this.members.values()] : ids.map((id) => this.member(id));
    await this.until("equal state", () => {
      const commit = Math.max(...members.map(({ node }) => node.status.value.commitIndex));
      return members.every(({ machine }) => machine.applied.index === commit);
    });
  }

  async close(): Promise<void> {
    for (const { node } of this.members.values()) await node.close();
  }

  describe(): string {
    return [...this.members.values()]
      .map(({ id, node, fatal }) => {
        const { role, term, leaderId, commitIndex, appliedIndex, lastLogIndex, confState } = node.status.value;
        const failed = fatal.length > 0 ? ` failed: ${messageOf(fatal[0])}` : "";
        const voters = `voters ${confState.voters} learners ${confState.learners}`;
        const log = `commit ${commitIndex} applied ${appliedIndex} last ${lastLogIndex}`;
        return `node ${id}: ${role} term ${term} lead ${leaderId} ${log} ${voters}${failed}`;
      })
      .join("\n");
  }
}
