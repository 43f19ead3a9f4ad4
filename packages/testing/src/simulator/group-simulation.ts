/**
 * A user's own state machine under simulation: members of a Raft group on simulated machines, clients that propose and
 * read, faults, and the same checks of Raft as for a Blixard cluster.
 */
import { type Random, sleep } from "@blixard/common";
import type { Applied, RaftNodeOptions, ReadOptions } from "@blixard/raft";
import { type GroupNode, RaftGroup, type Replica } from "./raft-group.ts";
import { integer, pick, randomOf } from "./seeds.ts";
import { mayPass } from "./sim-caller.ts";
import { raftOptionsOf } from "./simulation.ts";
import { type SimulationOptions, type SimulationResult, StormRun, type Subject } from "./storm-run.ts";

export interface GroupScenario<State, Result> {
  /** A state machine as a new process has it: called at each start of a node. `state` is what the others here look at. */
  readonly create: () => Replica<State, Result>;
  /** One action of a client; several clients act at the same time. Errors of a faulty world may leave it. */
  readonly step: (client: GroupClient<State, Result>) => Promise<void>;
  /** Equal for equal states, on every node: a state that depends on more than the log is found by it. */
  readonly fingerprint: (state: State) => string;
  /** What is wrong with a state; looked at after every batch of entries and every restore. */
  readonly invariant?: (state: State) => string | undefined;
  /** What is wrong with what the clients saw in the whole run; asked once, at its end. */
  readonly lastCheck?: () => string | undefined;
  /** Milliseconds after which a client gives a call up: one of these for each call. Default: 4,000. */
  readonly callTimeoutsMs?: readonly number[];
  /** Options of the Raft nodes. Default: small limits drawn from the seed, so that short runs see snapshots. */
  readonly raft?: Omit<RaftNodeOptions, "id" | "bootstrap">;
}

export interface GroupClient<State, Result> {
  /** The only source of randomness that a client may use. */
  readonly random: Random;
  /** Proposes once, at some node. The `outcome` of an error says whether it may have happened all the same. */
  propose(data: Uint8Array): Promise<Applied<Result>>;
  /** Looks at the state of some node, which covers everything that was acknowledged before, unless it may be stale. */
  read<T>(look: (state: State) => T, options?: Pick<ReadOptions, "consistency">): Promise<T>;
  /** Reports that a client saw what it must never see; ends the run. */
  fail(detail: string): void;
}

const callTimeoutsMsDefault = [4_000];

/** Runs the scenario from one seed. @throws never because of a violation: it is part of the result */
export async function simulateGroup<State, Result>(
  scenario: GroupScenario<State, Result>,
  options: SimulationOptions,
): Promise<SimulationResult> {
  const run = new StormRun(options);
  return run.run(new GroupSubject(run, scenario, options));
}

class GroupSubject<State, Result> implements Subject {
  readonly machines: RaftGroup<State, Result>;
  readonly #world: StormRun["world"];
  readonly #scenario: GroupScenario<State, Result>;
  readonly #clientCount: number;
  readonly #thinkMs: number;
  readonly #random: Random;
  #stopping = new AbortController();
  #running: Promise<unknown> = Promise.resolve();
  #operations = 0;
  #acknowledged = 0;
  #acknowledgedMax = 0;

  constructor({ world }: StormRun, scenario: GroupScenario<State, Result>, { seed, thinkMs }: SimulationOptions) {
    this.#world = world;
    this.#scenario = scenario;
    const { create, fingerprint, invariant = () => undefined } = scenario;
    const raft = scenario.raft ?? raftOptionsOf(randomOf(seed, "options"));
    this.machines = new RaftGroup(world, randomOf(seed, "group"), { create, fingerprint, invariant, raft });
    const drawn = randomOf(seed, "clients");
    this.#clientCount = integer(drawn, 2, 5);
    this.#thinkMs = thinkMs ?? pick(drawn, [200, 500, 2_000]);
    this.#random = randomOf(seed, "workload");
  }

  form(count: number): Promise<void> {
    return this.machines.form(count);
  }

  startClients(): void {
    this.#stopping = new AbortController();
    this.#running = Promise.all(Array.from({ length: this.#clientCount }, () => this.#client()));
  }

  async stopClients(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #client(): Promise<void> {
    const { signal } = this.#stopping;
    const client: GroupClient<State, Result> = {
      random: this.#random,
      propose: (data) => this.#propose(data),
      read: (look, options) => this.#read(look, options),
      fail: (detail) => this.#world.violations.report("clients see what they may see", detail),
    };
    while (!signal.aborted) {
      const delayMs = -Math.log(1 - this.#random.next()) * this.#thinkMs;
      await sleep(this.machines.outside.clock, delayMs, signal).catch(() => {});
      if (signal.aborted) return;
      try {
        await this.#scenario.step(client);
      } catch (error) {
        if (!mayPass(error)) this.#world.violations.report("a good call is not refused", String(error));
      }
    }
  }

  async #propose(data: Uint8Array): Promise<Applied<Result>> {
    const { checker, violations } = this.#world;
    const applied = await this.#call(({ raft }, signal) => raft.propose(data, { signal }));
    const { index, term } = applied;
    this.#acknowledged++;
    this.#acknowledgedMax = Math.max(this.#acknowledgedMax, index);
    if (checker.appliedAt(index)?.term !== term) {
      violations.report("no acknowledged write is lost", `one was acknowledged at ${index} in term ${term}`);
    }
    return applied;
  }

  #read<T>(look: (state: State) => T, options: Pick<ReadOptions, "consistency"> = {}): Promise<T> {
    const acknowledged = this.#acknowledgedMax;
    return this.#call(async ({ raft, state }, signal) => {
      const index = await raft.read({ ...options, signal });
      if (options.consistency !== "stale" && index < acknowledged) {
        const detail = `node ${raft.status.value.id} answers a read at ${index}, after ${acknowledged} was acknowledged`;
        this.#world.violations.report("a read covers what was acknowledged before it", detail);
      }
      return look(state);
    });
  }

  #call<T>(work: (node: GroupNode<State, Result>, signal: AbortSignal) => Promise<T>): Promise<T> {
    this.#operations++;
    const callTimeoutMs = pick(this.#random, this.#scenario.callTimeoutsMs ?? callTimeoutsMsDefault);
    const machine = pick(this.#random, this.machines.inUse());
    return this.machines.call(machine, callTimeoutMs, async (node, process) => {
      const controller = new AbortController();
      const timer = process.after(callTimeoutMs, () => controller.abort());
      try {
        return await work(node, controller.signal);
      } finally {
        timer.cancel();
      }
    });
  }

  whatIsMissing(): string | undefined {
    return this.machines.whatIsMissing();
  }

  checkStates(): void {
    const { violations } = this.#world;
    const leader = this.machines.leader()?.node;
    if (leader === undefined) return;
    const { appliedIndex, confState } = leader.raft.status.value;
    if (appliedIndex < this.#acknowledgedMax) {
      const detail = `the last state is at ${appliedIndex}, and ${this.#acknowledgedMax} was acknowledged`;
      violations.report("no acknowledged write is lost", detail);
    }
    const expected = this.#scenario.fingerprint(leader.state);
    for (const id of confState.voters) {
      const node = this.machines.machine(id)?.node;
      if (node !== undefined && this.#scenario.fingerprint(node.state) !== expected) {
        violations.report("equal state at equal applied index", `node ${id} differs from the leader at the end`);
      }
    }
  }

  checkHistory(): void {
    const wrong = this.#scenario.lastCheck?.();
    if (wrong !== undefined) this.#world.violations.report("clients see what they may see", wrong);
  }

  counts() {
    return { operations: this.#operations, acknowledgedWrites: this.#acknowledged, undecided: 0 };
  }
}
