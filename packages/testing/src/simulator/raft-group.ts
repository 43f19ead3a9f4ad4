/** Simulated machines that run the members of one Raft group with a user's state machine. */
import { BlixardError, discardMetrics, errorCodeOf, notApplied, type Random, sleep, toHex } from "@blixard/common";
import { asNodeId, openRaftNode, type RaftNode, type RaftNodeOptions, type StateMachine } from "@blixard/raft";
import type { FaultTarget } from "./fault-target.ts";
import { observeLog, observeSnapshots, observeStateMachine } from "./observed-stores.ts";
import { between, pick, randomOf } from "./seeds.ts";
import { callMachine, mayPass } from "./sim-caller.ts";
import { type Program, type ProgramStart, SimMachine, type SimWorld } from "./sim-machine.ts";
import { SimProcess } from "./sim-process.ts";

/** A state machine of a new process, and what clients and checks see of it. */
export interface Replica<State, Result> {
  readonly stateMachine: StateMachine<Result>;
  readonly state: State;
}

export interface GroupNode<State, Result> {
  readonly raft: RaftNode<Result>;
  readonly state: State;
}

export interface RaftGroupOptions<State, Result> {
  readonly create: () => Replica<State, Result>;
  /** Equal for equal states. */
  readonly fingerprint: (state: State) => string;
  readonly invariant: (state: State) => string | undefined;
  readonly raft: Omit<RaftNodeOptions, "id" | "bootstrap">;
}

type GroupMachine<State, Result> = SimMachine<GroupNode<State, Result>>;

const pollMs = 100;
const attemptMs = 5_000;
/** Clocks of two machines differ in speed by less than the tenth that leases trust them with. */
const clockRates = { min: 0.955, max: 1.045 };
/** From one request of an operator to that of another. */
const betweenRequestsMs = 0.1;

export class RaftGroup<State, Result> implements FaultTarget {
  readonly world: SimWorld;
  /** Where programs outside of the group run; never crashes. */
  readonly outside: SimProcess;
  readonly #options: RaftGroupOptions<State, Result>;
  readonly #random: Random;
  readonly #machines = new Map<number, GroupMachine<State, Result>>();
  readonly #programs: GroupProgram<State, Result>[] = [];
  #voters: readonly number[] = [];

  constructor(world: SimWorld, random: Random, options: RaftGroupOptions<State, Result>) {
    this.world = world;
    this.outside = new SimProcess(0, world.time, () => 0);
    this.#options = options;
    this.#random = random;
  }

  machines(): GroupMachine<State, Result>[] {
    return [...this.#machines.values()];
  }

  machine(id: number): GroupMachine<State, Result> | undefined {
    return this.#machines.get(id);
  }

  inUse(): GroupMachine<State, Result>[] {
    return this.machines().filter(({ phase }) => phase !== "removed" && phase !== "lost");
  }

  leader(): GroupMachine<State, Result> | undefined {
    return this.machines().find(
      ({ node, process }) => node?.raft.status.value.ready === true && process?.paused === false,
    );
  }

  isWhole(): boolean {
    const voters = this.leader()?.node?.raft.status.value.confState.voters ?? [];
    const machines = this.inUse();
    return (
      voters.length === machines.length &&
      machines.every(({ id, node }) => node !== undefined && voters.includes(asNodeId(id)))
    );
  }

  /** Why the group is not one yet; undefined when every voter is up and has applied what is committed. */
  whatIsMissing(): string | undefined {
    const leader = this.leader()?.node;
    if (leader === undefined) return "there is no leader";
    const { commitIndex, term, confState } = leader.raft.status.value;
    for (const id of confState.voters) {
      const machine = this.machine(id);
      const status = machine?.node?.raft.status.value;
      if (status === undefined) return `node ${id} is ${machine?.phase}`;
      if (status.term !== term) return `node ${id} is in term ${status.term}, the leader in ${term}`;
      if (status.appliedIndex !== commitIndex) {
        return `node ${id} has applied ${status.appliedIndex}, and ${commitIndex} is committed`;
      }
    }
    return undefined;
  }

  /** A group of `count` voters. @throws UNAVAILABLE when it does not come up in a calm world */
  async form(count: number): Promise<void> {
    this.#voters = Array.from({ length: count }, (_, at) => at + 1);
    for (const _ of this.#voters) this.#add();
    const endMs = this.world.time.nowMs + 60_000;
    while (!this.isWhole()) {
      if (this.world.time.nowMs >= endMs) throw new BlixardError("UNAVAILABLE", `no group of ${count} within a minute`);
      await sleep(this.outside.clock, pollMs);
    }
  }

  #add(): number {
    const id = this.#machines.size + 1;
    const voters = this.#voters.includes(id) ? this.#voters : undefined;
    const program = new GroupProgram(id, this.world, this.#options, voters, () => this.#peers());
    const machine = new SimMachine(id, this.world, program);
    machine.clockRate = between(randomOf(this.world.seed, `clock-${id}`), clockRates.min, clockRates.max);
    this.#programs.push(program);
    this.#machines.set(id, machine);
    for (const other of this.#programs) other.peersChanged();
    void machine.boot();
    return id;
  }

  #peers() {
    return this.#programs.map(({ id, endpointId }) => ({ nodeId: id, endpointId, addresses: [] }));
  }

  async join(): Promise<void> {
    const id = asNodeId(this.#add());
    await this.#operate(Number.POSITIVE_INFINITY, (raft) => raft.add(id));
  }

  async remove(id: number, timeoutMs: number, force: boolean): Promise<void> {
    await this.#operate(timeoutMs, (raft) => raft.remove(asNodeId(id), { force }));
  }

  async transferLeader(timeoutMs: number): Promise<void> {
    await this.#operate(timeoutMs, (raft) => {
      const { id, confState } = raft.status.value;
      const others = confState.voters.filter((voter) => voter !== id);
      return others.length === 0 ? Promise.resolve() : raft.transferLeader(pick(this.#random, others));
    });
  }

  async demoteAndTransfer(target: number, timeoutMs: number): Promise<void> {
    const id = asNodeId(target);
    const leader = this.leader();
    if (leader === undefined) return;
    await this.call(leader, timeoutMs, ({ raft }, process) => {
      const changes = [{ op: "addLearner", id }] as const;
      const demoted = raft.proposeConfChange({ version: 1, transition: "auto", changes });
      const moved = new Promise<void>((resolve, reject) => {
        process.after(betweenRequestsMs, () => raft.transferLeader(id).then(resolve, reject));
      });
      return Promise.allSettled([demoted, moved]);
    });
    await this.#operate(Number.POSITIVE_INFINITY, (raft) => raft.add(id));
  }

  /** Asks the leader again and again, until it has done what is asked for. */
  async #operate(timeoutMs: number, work: (raft: RaftNode<Result>) => Promise<unknown>): Promise<void> {
    const endMs = this.world.time.nowMs + timeoutMs;
    for (;;) {
      try {
        const leader = this.leader();
        if (leader === undefined) throw notApplied("NO_LEADER", "nobody leads");
        await this.call(leader, attemptMs, ({ raft }) => work(raft));
        return;
      } catch (error) {
        // After an attempt that took too long, its change may still be under way.
        const passes = mayPass(error) || errorCodeOf(error) === "CONFLICT";
        if (!passes || this.world.time.nowMs >= endMs) throw error;
        await sleep(this.outside.clock, pollMs);
      }
    }
  }

  call<T>(
    machine: GroupMachine<State, Result>,
    timeoutMs: number,
    work: (node: GroupNode<State, Result>, process: SimProcess) => Promise<T>,
  ): Promise<T> {
    return callMachine({ time: this.world.time, outside: this.outside }, machine, timeoutMs, work);
  }
}

class GroupProgram<State, Result> implements Program<GroupNode<State, Result>> {
  readonly id: number;
  readonly endpointId: string;
  readonly #world: SimWorld;
  readonly #options: RaftGroupOptions<State, Result>;
  readonly #voters: readonly number[] | undefined;
  readonly #peers: () => Parameters<ReturnType<SimWorld["network"]["join"]>["setPeers"]>[0];
  /** Tells the transport of the present process who is there. */
  peersChanged: () => void = () => {};

  constructor(
    id: number,
    world: SimWorld,
    options: RaftGroupOptions<State, Result>,
    voters: readonly number[] | undefined,
    peers: () => Parameters<ReturnType<SimWorld["network"]["join"]>["setPeers"]>[0],
  ) {
    this.id = id;
    this.endpointId = toHex(randomOf(world.seed, `endpoint-${id}`).bytes(32));
    this.#world = world;
    this.#options = options;
    this.#voters = voters;
    this.#peers = peers;
  }

  async start({ process, disk, boot, ended }: ProgramStart): Promise<GroupNode<State, Result>> {
    const { network, checker, logger, seed } = this.#world;
    const { create, raft: options } = this.#options;
    const stores = await disk.open(process);
    const transport = network.join(this.endpointId, process);
    this.peersChanged = () => transport.setPeers(this.#peers().filter(({ nodeId }) => nodeId !== this.id));
    this.peersChanged();
    const { stateMachine, state } = create();
    const look = () => this.#look(state);
    const raft = await openRaftNode<Result>(
      {
        clock: process.clock,
        random: randomOf(seed, `node-${this.id}-${boot}`),
        logger: logger(this.id),
        metrics: discardMetrics,
        log: observeLog(stores.log, process, checker),
        snapshots: observeSnapshots(stores.snapshots, process, checker),
        stateMachine: observeStateMachine(stateMachine, process, checker, look),
        transport: transport.peers,
        onFatal: ended,
      },
      {
        ...options,
        id: asNodeId(this.id),
        ...(this.#voters === undefined ? {} : { bootstrap: { voters: this.#voters.map(asNodeId) } }),
      },
    );
    return { raft, state };
  }

  /** What the state is, for comparison with the others; a broken invariant is reported. */
  #look(state: State): string {
    const broken = this.#options.invariant(state);
    if (broken !== undefined) this.#world.violations.report("the invariant holds", `node ${this.id}: ${broken}`);
    return this.#options.fingerprint(state);
  }

  powerLost(): void {}
}
