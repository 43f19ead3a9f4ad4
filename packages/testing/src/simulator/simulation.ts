/**
 * One run of a simulated cluster, a function of its seed:
 *
 *     form -> storm: faults and clients -> liveness: no faults, must converge -> rest: must stay as it is -> last checks
 *              ^--------------------------------- (long runs) ---------------------------------+
 */

import type { ClusterNodeOptions } from "@blixard/cluster";
import { type Logger, messageOf, silentLogger } from "@blixard/common";
import type { PeerMessage } from "@blixard/raft";
import { FaultPlayer } from "./fault-player.ts";
import { type FaultEvent, generateStorms, type Storm } from "./fault-schedule.ts";
import { History } from "./history.ts";
import { checkRegister } from "./linearizability.ts";
import { RaftChecker } from "./raft-checker.ts";
import { chance, integer, pick, randomOf } from "./seeds.ts";
import { SimCluster } from "./sim-cluster.ts";
import { SimNetwork } from "./sim-network.ts";
import { VmRegistry } from "./sim-vm-manager.ts";
import { Trace } from "./trace.ts";
import { type Violation, Violations } from "./violation.ts";
import { VirtualTime } from "./virtual-time.ts";
import { Workload } from "./workload.ts";

export interface SimulationOptions {
  readonly seed: number;
  /** Voters at the start. Default: 3. */
  readonly nodes?: number;
  /** Ticks of storms and rests, of 50 virtual milliseconds each. Default: 1,000. */
  readonly ticks?: number;
  /**
   * A storm takes 1,000 ticks. In a longer run the cluster then has so many ticks of rest, in which no leader may be
   * lost, before the next one. Default: 4,000; 0 makes the whole run one storm.
   */
  readonly restTicks?: number;
  /** Numbers of the planned faults that happen; the others are left out. Default: all. */
  readonly keepFaults?: readonly number[];
  /** Mean milliseconds between two calls of one client. Default: 500, 2,000 or 5,000, by the seed. */
  readonly thinkMs?: number;
  /** Gets what the nodes log. */
  readonly logger?: (nodeId: number, nowMs: () => number) => Logger;
}

export interface SimulationResult {
  readonly seed: number;
  readonly violation: Violation | undefined;
  /** Equal for equal runs. */
  readonly traceHash: string;
  /** Ticks of the whole cluster that were simulated, in all phases. */
  readonly clusterTicks: number;
  readonly events: number;
  readonly faults: readonly FaultEvent[];
  readonly operations: number;
  readonly acknowledgedWrites: number;
  readonly appliedEntries: number;
  readonly leaders: number;
  /** Keys whose history was too tangled to decide about. */
  readonly undecided: number;
}

const tickMs = 50;
const stormTicks = 1_000;
const restTicksDefault = 4_000;
const formMsMax = 120_000;
const convergeMsMax = 120_000;

/** @throws never because of a violation: it is part of the result */
export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  return new Simulation(options).run();
}

class Simulation {
  readonly #seed: number;
  readonly #nodes: number;
  readonly #storms: readonly Storm[];
  readonly #keep: ReadonlySet<number> | undefined;
  readonly #trace = new Trace();
  readonly #time = new VirtualTime(this.#trace);
  readonly #violations = new Violations();
  readonly #history = new History();
  readonly #checker = new RaftChecker(this.#violations);
  readonly #cluster: SimCluster;
  readonly #workload: Workload;
  readonly #player: FaultPlayer;
  #undecided = 0;

  constructor(options: SimulationOptions) {
    const { seed, nodes = 3, ticks = stormTicks, restTicks = restTicksDefault, keepFaults, logger } = options;
    this.#seed = seed;
    this.#nodes = nodes;
    this.#storms = generateStorms(seed, ticks * tickMs, stormTicks * tickMs, restTicks * tickMs);
    this.#keep = keepFaults === undefined ? undefined : new Set(keepFaults);
    this.#violations.setNow(() => ({ atMs: this.#time.nowMs, step: this.#time.eventCount }));
    this.#cluster = this.#createCluster(logger);
    const random = randomOf(seed, "workload");
    const deps = { history: this.#history, checker: this.#checker, violations: this.#violations, random };
    this.#workload = new Workload({ ...deps, cluster: this.#cluster }, workloadOptionsOf(seed, options.thinkMs));
    this.#player = new FaultPlayer(this.#cluster, seed, nodes);
  }

  #createCluster(logger: SimulationOptions["logger"]): SimCluster {
    const seed = this.#seed;
    const registry = new VmRegistry((vmId, on) =>
      this.#violations.report("a VM runs at most once", `${vmId} runs on nodes ${on.join(" and ")}`),
    );
    const network = new SimNetwork(this.#time, randomOf(seed, "network"), (from, to, message) => {
      this.#trace.mix(from * 65_536 + to, tracedNumber(message));
      this.#checker.sent(from, to, message);
    });
    const world = {
      ...{ seed, network, registry, time: this.#time, checker: this.#checker, violations: this.#violations },
      logger: (nodeId: number) => logger?.(nodeId, () => this.#time.nowMs) ?? silentLogger,
      nodeOptions: nodeOptionsOf(seed),
    };
    return new SimCluster(world, randomOf(seed, "cluster"));
  }

  async run(): Promise<SimulationResult> {
    let ended = false;
    this.#script()
      .catch((error: unknown) => this.#violations.report("the scenario can be played", messageOf(error)))
      .finally(() => {
        ended = true;
      });
    const stormsMs = this.#storms.reduce((sum, { durationMs, restMs }) => sum + durationMs + restMs, 0);
    const endMs = formMsMax + stormsMs + 4 * convergeMsMax * this.#storms.length;
    await this.#time.runUntil(endMs, () => ended || this.#violations.first !== undefined);
    if (!ended && this.#violations.first === undefined) {
      this.#violations.report("the cluster recovers when the faults end", "the run did not end");
    }
    return this.#result();
  }

  #result(): SimulationResult {
    return {
      seed: this.#seed,
      violation: this.#violations.first,
      traceHash: this.#trace.digest(),
      clusterTicks: Math.floor(this.#time.nowMs / tickMs),
      events: this.#time.eventCount,
      faults: this.#storms.flatMap(({ faults }) => faults),
      operations: this.#history.count,
      acknowledgedWrites: this.#workload.acknowledged,
      appliedEntries: this.#checker.appliedMax,
      leaders: this.#checker.leaderCount,
      undecided: this.#undecided,
    };
  }

  async #script(): Promise<void> {
    await this.#cluster.form(this.#nodes);
    let first = 0;
    for (const storm of this.#storms) {
      await this.#play(storm, first);
      first += storm.faults.length;
    }
    this.#checkHistory();
  }

  /** `first` is the number of the first fault of this storm in the whole run. */
  async #play({ faults, durationMs, restMs }: Storm, first: number): Promise<void> {
    const keep = this.#keep;
    this.#player.plan(keep === undefined ? faults : faults.filter((_, at) => keep.has(first + at)));
    this.#workload.start();
    await this.#cluster.sleep(durationMs);
    const restEndMs = this.#time.nowMs + restMs;
    await this.#player.heal();
    await this.#converge();
    this.#assertEqualStates();
    if (restEndMs > this.#time.nowMs) await this.#rest(restEndMs - this.#time.nowMs);
  }

  /** Nothing goes wrong, so nothing may happen: nobody has a reason to look for another leader. */
  async #rest(durationMs: number): Promise<void> {
    const before = this.#checker.leaderCount;
    await this.#cluster.sleep(durationMs);
    const after = this.#checker.leaderCount;
    if (after === before) return;
    this.#violations.report("a calm cluster keeps its leader", `${after - before} new leaders in a rest`);
  }

  async #converge(): Promise<void> {
    const endMs = this.#time.nowMs + convergeMsMax;
    const leftMs = () => Math.max(0, endMs - this.#time.nowMs);
    await this.#cluster.until(() => this.#cluster.leader() !== undefined, leftMs());
    await this.#player.replaceLost();
    await this.#workload.stop();
    await this.#workload.readAll();
    if (await this.#cluster.until(() => this.#whatIsMissing() === undefined, leftMs())) return;
    this.#violations.report("the cluster recovers when the faults end", this.#whatIsMissing() ?? "");
  }

  /** Why the cluster is not one yet; undefined when it is. */
  #whatIsMissing(): string | undefined {
    const leader = this.#cluster.leader()?.node;
    if (leader === undefined) return "there is no leader";
    const { commitIndex, term, members } = leader.status();
    for (const { id } of members) {
      const machine = this.#cluster.machine(id);
      if (machine?.node === undefined) return `node ${id} is ${machine?.phase}`;
      const { ready, reason } = machine.node.ready();
      if (!ready) return `node ${id} is not ready: ${reason}`;
      const status = machine.node.status();
      if (status.term !== term) return `node ${id} is in term ${status.term}, the leader in ${term}`;
      if (status.appliedIndex !== commitIndex) {
        return `node ${id} has applied ${status.appliedIndex}, and ${commitIndex} is committed`;
      }
    }
    return undefined;
  }

  #assertEqualStates(): void {
    const leader = this.#cluster.leader()?.node;
    if (leader === undefined) return;
    const { appliedIndex, members } = leader.status();
    if (appliedIndex < this.#workload.acknowledgedMax) {
      const detail = `the last state is at ${appliedIndex}, and ${this.#workload.acknowledgedMax} was acknowledged`;
      this.#violations.report("no acknowledged write is lost", detail);
    }
    const expected = JSON.stringify([...leader.state.kv].sort());
    for (const { id } of members) {
      const kv = this.#cluster.machine(id)?.node?.state.kv;
      if (kv !== undefined && JSON.stringify([...kv].sort()) !== expected) {
        this.#violations.report("equal state at equal applied index", `node ${id} differs from the leader at the end`);
      }
    }
  }

  #checkHistory(): void {
    for (const [key, operations] of this.#history.byKey()) {
      const verdict = checkRegister(operations);
      if (verdict.type === "undecided") this.#undecided++;
      if (verdict.type === "violation") this.#violations.report("linearizable history", `${key}: ${verdict.detail}`);
    }
  }
}

/** Small limits, so that short runs see snapshots, chunks and compaction. */
function nodeOptionsOf(seed: number): Omit<ClusterNodeOptions, "nodeId" | "version"> {
  const random = randomOf(seed, "options");
  return {
    hashWindow: pick(random, [20, 100]),
    // More than clients can fill while one of them still repeats a call.
    requestWindow: 300,
    raft: {
      snapshotEntries: pick(random, [0, 20, 50, 200]),
      trailingEntries: pick(random, [0, 5, 50]),
      // One byte: each append carries one entry.
      appendMessageBytesMax: pick(random, [1, 1, 512, 1_048_576]),
      snapshotChunkBytes: pick(random, [256, 1_024, 16_384]),
      preVote: chance(random, 0.8),
      checkQuorum: chance(random, 0.8),
    },
  };
}

function workloadOptionsOf(seed: number, thinkMs: number | undefined) {
  const random = randomOf(seed, "clients");
  const drawn = {
    clients: integer(random, 2, 5),
    keys: integer(random, 1, 4),
    thinkMs: pick(random, [500, 2_000, 5_000]),
  };
  return thinkMs === undefined ? drawn : { ...drawn, thinkMs };
}

/** What tells one message from another in the trace. */
function tracedNumber(message: PeerMessage): number {
  switch (message.type) {
    case "raft":
    case "snapshotChunk":
      return message.message.term * 2 ** 20 + message.message.index;
    case "snapshotAck":
      return message.term * 2 ** 20 + message.index;
    case "proposal":
      return message.term * 2 ** 20 + message.sequence;
    case "proposalAnswer":
      return message.sequence;
    default:
      return message satisfies never;
  }
}
