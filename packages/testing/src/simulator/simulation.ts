/** A simulated Blixard cluster: the nodes of the binary, with clients of its key-value store and its VMs. */
import type { ClusterNodeOptions } from "@blixard/cluster";
import type { Random } from "@blixard/common";
import type { RaftNodeOptions } from "@blixard/raft";
import { ByzantineCluster } from "./byzantine/byzantine-cluster.ts";
import { History } from "./history.ts";
import { checkRegister } from "./linearizability.ts";
import { probeRequestWindow } from "./request-window-probe.ts";
import { chance, integer, pick, randomOf } from "./seeds.ts";
import { SimCluster } from "./sim-cluster.ts";
import type { SimWorld } from "./sim-machine.ts";
import { VmRegistry } from "./sim-vm-manager.ts";
import { type SimulationOptions, type SimulationResult, StormRun, type Subject } from "./storm-run.ts";
import { Workload } from "./workload.ts";

/** @throws never because of a violation: it is part of the result */
export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  const run = new StormRun(options);
  return run.run(new ClusterSubject(run.world, options));
}

class ClusterSubject implements Subject {
  readonly machines: SimCluster;
  readonly #world: SimWorld;
  readonly #history = new History();
  readonly #workload: Workload;
  readonly #byzantine: ByzantineCluster | undefined;
  #undecided = 0;

  constructor(world: SimWorld, { seed, thinkMs, byzantine = false }: SimulationOptions) {
    const { violations, checker } = world;
    this.#world = world;
    const registry = new VmRegistry(
      (vmId, on) => violations.report("a VM runs at most once", `${vmId} runs on nodes ${on.join(" and ")}`),
      (vmId, epochs) => violations.report("a VM does not go back and forth", `${vmId}: ${epochs} epochs in a second`),
    );
    const clusterWorld = { ...world, registry, nodeOptions: nodeOptionsOf(seed) };
    this.#byzantine = byzantine ? new ByzantineCluster(clusterWorld) : undefined;
    this.machines = this.#byzantine?.cluster ?? new SimCluster(clusterWorld, randomOf(seed, "cluster"));
    const deps = { history: this.#history, checker, violations, random: randomOf(seed, "workload") };
    const workload = { ...workloadOptionsOf(seed, thinkMs), asksMembers: byzantine };
    this.#workload = new Workload({ ...deps, cluster: this.machines }, workload);
  }

  async form(count: number): Promise<void> {
    await this.machines.form(count);
    this.#byzantine?.watch();
  }

  startClients(): void {
    this.#workload.start();
  }

  async stopClients(): Promise<void> {
    await this.#workload.stop();
    await this.#workload.readAll();
  }

  whatIsMissing(): string | undefined {
    const leader = this.machines.leader()?.node;
    if (leader === undefined) return "there is no leader";
    const { commitIndex, term, members } = leader.status();
    for (const { id } of members) {
      if (this.machines.isTaken(id)) continue;
      const machine = this.machines.machine(id);
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

  checkStates(): void {
    const { violations } = this.#world;
    this.#byzantine?.check();
    const leader = this.machines.leader()?.node;
    if (leader === undefined) return;
    const { appliedIndex, members } = leader.status();
    if (appliedIndex < this.#workload.acknowledgedMax) {
      const detail = `the last state is at ${appliedIndex}, and ${this.#workload.acknowledgedMax} was acknowledged`;
      violations.report("no acknowledged write is lost", detail);
    }
    const expected = JSON.stringify([...leader.state.kv].sort());
    for (const { id } of members) {
      const kv = this.machines.machine(id)?.node?.state.kv;
      if (kv !== undefined && JSON.stringify([...kv].sort()) !== expected) {
        violations.report("equal state at equal applied index", `node ${id} differs from the leader at the end`);
      }
    }
  }

  async probe(): Promise<void> {
    if (this.#byzantine !== undefined) return this.#byzantine.probe();
    return probeRequestWindow(this.machines, requestWindow);
  }

  checkHistory(): void {
    for (const [key, operations] of this.#history.byKey()) {
      const verdict = checkRegister(operations);
      if (verdict.type === "undecided") this.#undecided++;
      if (verdict.type === "violation") {
        this.#world.violations.report("linearizable history", `${key}: ${verdict.detail}`);
      }
    }
  }

  counts() {
    const { count } = this.#history;
    const forged = this.#byzantine === undefined ? {} : { forged: this.#byzantine.counts() };
    return {
      operations: count,
      acknowledgedWrites: this.#workload.acknowledged,
      undecided: this.#undecided,
      ...forged,
    };
  }
}

/** More than clients can fill while one of them still repeats a call. */
const requestWindow = 300;

/** Short, so that VMs move in the time that a fault lasts. The grace is little more than a watchdog needs. */
const leaseTimes = { leaseMs: 3_000, leaseRenewMs: 600, leaseGraceMs: 150, leaseDriftMs: 320 };

/** Small limits, so that short runs see snapshots, chunks and compaction. */
function nodeOptionsOf(seed: number): Omit<ClusterNodeOptions, "nodeId" | "version"> {
  const random = randomOf(seed, "options");
  return {
    hashWindow: pick(random, [20, 100]),
    requestWindow,
    ...leaseTimes,
    raft: raftOptionsOf(random),
  };
}

export function raftOptionsOf(random: Random): Omit<RaftNodeOptions, "id" | "bootstrap"> {
  return {
    snapshotEntries: pick(random, [0, 20, 50, 200]),
    trailingEntries: pick(random, [0, 5, 50]),
    // One byte: each append carries one entry.
    appendMessageBytesMax: pick(random, [1, 1, 512, 1_048_576]),
    snapshotChunkBytes: pick(random, [256, 1_024, 16_384]),
    preVote: chance(random, 0.8),
    checkQuorum: chance(random, 0.8),
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
