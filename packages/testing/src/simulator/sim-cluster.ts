/** Simulated machines that form one cluster, and what an operator can do with them. */

import type { ClusterNode } from "@blixard/cluster";
import {
  BlixardError,
  changedError,
  fromUtf8,
  isBlixardError,
  notApplied,
  type Random,
  sleep,
  toHex,
} from "@blixard/common";
import type { Actor, CallMeta, MemberRole, MethodName, RequestOf, ResponseOf } from "@blixard/protocol";
import { decodeTicket } from "@blixard/protocol";
import type { Member } from "./byzantine/liar.ts";
import type { TakeOver } from "./byzantine/take-over.ts";
import { ClusterProgram, type ClusterWorld, type FirstStart, sha256 } from "./cluster-program.ts";
import type { FaultTarget } from "./fault-target.ts";
import { pick } from "./seeds.ts";
import { callMachine, mayPass, outcomeOf } from "./sim-caller.ts";
import { SimMachine } from "./sim-machine.ts";
import { SimProcess } from "./sim-process.ts";

const adminToken = "the token of the first administrator";
const actor: Actor = { kind: "token", id: "admin" };
const pollMs = 100;

type ClusterMachine = SimMachine<ClusterNode>;

/** What somebody does with members of a cluster that were taken over. */
export interface TakenOver {
  /** Admitted in this order, before the second voter is. */
  readonly roles: readonly MemberRole[];
  /** Told of each of them once, before its node starts. */
  readonly taken: (member: Member) => void;
  readonly play: (action: TakeOver) => void;
  readonly silence: () => void;
}

export class SimCluster implements FaultTarget {
  readonly world: ClusterWorld;
  readonly #machines = new Map<number, ClusterMachine>();
  readonly #programs = new Map<number, ClusterProgram>();
  /** Members that were taken over stand for themselves: nobody calls them, repairs them or counts on them. */
  readonly #taken = new Map<number, ClusterMachine>();
  readonly #takenOver: TakenOver | undefined;
  readonly #removing = new Set<number>();
  /** Where programs outside of the cluster run; never crashes. */
  readonly outside: SimProcess;
  readonly #random: Random;
  #nextId = 1;
  #requests = 0;

  constructor(world: ClusterWorld, random: Random, takenOver?: TakenOver) {
    this.world = world;
    this.#takenOver = takenOver;
    this.#random = random;
    this.outside = new SimProcess(0, world.time, () => 0);
  }

  machines(): ClusterMachine[] {
    return [...this.#machines.values()];
  }

  machine(id: number): ClusterMachine | undefined {
    return this.#machines.get(id);
  }

  endpointIdOf(id: number): string | undefined {
    return this.#programs.get(id)?.endpointId;
  }

  isTaken(id: number): boolean {
    return this.#taken.has(id);
  }

  /** Whether the operator has asked the node to leave. */
  isRemoved(id: number): boolean {
    return this.#removing.has(id);
  }

  takeOver(action: TakeOver): void {
    this.#takenOver?.play(action);
  }

  calm(): void {
    this.#takenOver?.silence();
  }

  up(): ClusterMachine[] {
    return this.machines().filter(({ node }) => node !== undefined);
  }

  /** Machines that are in use: neither removed nor beyond repair. */
  inUse(): ClusterMachine[] {
    return this.machines().filter(({ phase }) => phase !== "removed" && phase !== "lost");
  }

  leader(): ClusterMachine | undefined {
    const all = [...this.#machines.values(), ...this.#taken.values()];
    return all.find(({ node, process }) => node?.isLeader() === true && process?.paused === false);
  }

  sleep(delayMs: number): Promise<void> {
    return sleep(this.outside.clock, delayMs);
  }

  /** Looks every 100 virtual milliseconds. False when `timeoutMs` was over first. */
  async until(holds: () => boolean, timeoutMs: number): Promise<boolean> {
    const endMs = this.world.time.nowMs + timeoutMs;
    while (!holds()) {
      if (this.world.time.nowMs >= endMs) return false;
      await this.sleep(pollMs);
    }
    return true;
  }

  #add(first: FirstStart, takenRole?: MemberRole): ClusterMachine {
    const id = this.#nextId++;
    const program = new ClusterProgram(id, this.world, first, takenRole);
    const machine = new SimMachine(id, this.world, program);
    this.#programs.set(id, program);
    if (takenRole === undefined) {
      this.#machines.set(id, machine);
    } else {
      this.#taken.set(id, machine);
      this.#takenOver?.taken({ role: takenRole, endpointId: program.endpointId, machine });
    }
    void machine.boot();
    return machine;
  }

  /** A cluster of `count` voters. @throws UNAVAILABLE when it does not come up in a calm world */
  async form(count: number): Promise<void> {
    const tokenHash = toHex(sha256(fromUtf8(adminToken)));
    const first = this.#add({ mode: "bootstrap", clusterId: "simulated", tokenHash });
    await this.until(() => first.phase === "up", 10_000);
    for (const role of this.#takenOver?.roles ?? []) this.#add(await this.#invitation(role), role);
    await this.until(() => [...this.#taken.values()].every(({ phase }) => phase === "up"), 20_000);
    for (let size = 2; size <= count; size++) await this.join();
    const formed = await this.until(() => this.isWhole(), 60_000);
    if (!formed) throw new BlixardError("UNAVAILABLE", `no cluster of ${count} voters within a minute`);
  }

  /** True when every machine in use is up and votes as the leader has it, and when these are all that the leader knows. */
  isWhole(): boolean {
    const all = this.leader()?.node?.status().members ?? [];
    const members = all.filter(({ id }) => !this.isTaken(id));
    const voters = new Set(members.filter(({ role }) => role === "voter").map(({ id }) => id));
    const machines = this.inUse();
    return members.length === machines.length && machines.every(({ id, node }) => node !== undefined && voters.has(id));
  }

  /** True when every node that is up has the newest start of `id` in its state. */
  isStartKnown(id: number): boolean {
    const starts = this.#programs.get(id)?.starts ?? 0;
    const isKnownTo = ({ node }: ClusterMachine) =>
      [...(node?.state.nodes.values() ?? [])].some((record) => record.id === id && record.starts === starts);
    return this.up().every(isKnownTo);
  }

  /** Adds a machine, with a ticket. @throws what the cluster answers to the request for a ticket */
  async join(): Promise<void> {
    this.#add(await this.#invitation("voter"));
  }

  async #invitation(role: MemberRole): Promise<FirstStart> {
    const { ticket } = await this.callAny("ticket.create", { role }, 10_000);
    return { mode: "join", ticket: decodeTicket(ticket) };
  }

  async transferLeader(timeoutMs: number): Promise<void> {
    await this.callAny("leader.transfer", {}, timeoutMs);
  }

  async remove(id: number, timeoutMs: number, force: boolean): Promise<void> {
    this.#removing.add(id);
    // Who removes by force knows what ran there, and that it does not any more.
    const placed = this.up().flatMap(({ node }) => [...(node?.state.vms.values() ?? [])]);
    const names = [...new Set(placed.filter(({ node }) => node === id).map(({ name }) => name))];
    await this.callAny("member.remove", { id, force, ...(force ? { acceptTwoCopies: names } : {}) }, timeoutMs);
  }

  async setRole(id: number, role: MemberRole, timeoutMs: number): Promise<void> {
    await this.callAny("member.setRole", { id, role, force: false }, timeoutMs);
  }

  roleOf(id: number): MemberRole | "removed" | undefined {
    const state = this.leader()?.node?.state;
    const isThis = (record: { readonly endpointId: string }) => record.endpointId === this.endpointIdOf(id);
    const record = [...(state?.nodes.values() ?? [])].find(isThis);
    return record?.role ?? ([...(state?.removed.values() ?? [])].some(isThis) ? "removed" : undefined);
  }

  requestId(): string {
    this.#requests++;
    return `request-${this.#requests}`;
  }

  /** One call at one machine, as a program on it or near it makes it. */
  call<Name extends MethodName>(
    machine: ClusterMachine,
    name: Name,
    request: RequestOf<Name>,
    options: Pick<CallMeta, "requestId" | "timeoutMs" | "sinceIndex">,
  ): Promise<ResponseOf<Name>> {
    const { timeoutMs } = options;
    const meta = { ...options, actor, access: "admin", stale: false, hops: 0 } as const;
    const from = { time: this.world.time, outside: this.outside };
    return callMachine(from, machine, timeoutMs, (node) => node.call(name, request, meta));
  }

  /**
   * A call that is repeated at other nodes until one answers it or `timeoutMs` is over. The outcome of its error is that of
   * all attempts.
   */
  async callAny<Name extends MethodName>(
    name: Name,
    request: RequestOf<Name>,
    timeoutMs: number,
  ): Promise<ResponseOf<Name>> {
    const endMs = this.world.time.nowMs + timeoutMs;
    const requestId = this.requestId();
    let mayHaveHappened = false;
    for (;;) {
      try {
        const machines = this.up();
        if (machines.length === 0) throw notApplied("UNREACHABLE", "no node is up");
        return await this.call(pick(this.#random, machines), name, request, { requestId, timeoutMs: 5_000 });
      } catch (error) {
        mayHaveHappened ||= outcomeOf(error) === "unknown";
        if (!mayPass(error) || this.world.time.nowMs >= endMs) {
          throw mayHaveHappened && isBlixardError(error) ? changedError(error, { outcome: "unknown" }) : error;
        }
        await this.sleep(pollMs);
      }
    }
  }
}
