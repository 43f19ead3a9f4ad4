/** Makes the faults of special-faults.ts happen. */

import type { Random } from "@blixard/common";
import { forwardRpcMethod } from "@blixard/protocol";
import type { CrashFault, FaultTarget } from "./fault-target.ts";
import type { SimMachine } from "./sim-machine.ts";
import type { SpecialAction } from "./special-faults.ts";

type Install = Extract<SpecialAction, { readonly type: "crashInstalling" }>;

/** What it needs of the player of all faults. */
export interface SpecialFaultHelp {
  readonly random: Random;
  /** True while no fault may begin. */
  readonly isQuiet: () => boolean;
  readonly cut: (id: number, directions: readonly ("in" | "out")[], durationMs: number) => void;
  readonly crash: (machine: SimMachine, fault: CrashFault) => void;
  /** Takes the machine out of the cluster for good and puts another in; false when the cluster is not whole enough. */
  readonly exchange: (machine: SimMachine) => boolean;
  /** Waits for what an operator does, and bears its failure. */
  readonly track: (work: Promise<void>) => void;
}

const operatorTimeoutMs = 8_000;
/** A crash comes at once, or within the writes that come next. */
const nextWritesMs = 4;

export class SpecialFaultPlayer {
  readonly #cluster: FaultTarget;
  readonly #help: SpecialFaultHelp;
  #install: { readonly fault: Install; readonly untilMs: number } | undefined;

  constructor(cluster: FaultTarget, help: SpecialFaultHelp) {
    this.#cluster = cluster;
    this.#help = help;
    cluster.world.checker.onSnapshotReceived = (nodeId) => this.#received(nodeId);
  }

  play(action: SpecialAction): void {
    const { time, network } = this.#cluster.world;
    const leader = this.#cluster.leader();
    switch (action.type) {
      case "lateAnswers":
        if (leader !== undefined) this.#lateAnswers(leader.id, action);
        break;
      case "crashInstalling":
        this.#install = { fault: action, untilMs: time.nowMs + action.cutMs + action.durationMs };
        if (leader !== undefined) this.#help.cut(leader.id, ["in", "out"], action.cutMs);
        break;
      case "echo":
        network.echoShare = action.share;
        time.after(action.durationMs, 0, () => {
          network.echoShare = 0;
        });
        break;
      case "demoteAndTransfer":
        this.#demoteAndTransfer(action.share);
        break;
      case "removeUnheard":
        this.#removeUnheard(action);
        break;
      case "standStill":
        if (leader !== undefined) this.#standStill(leader, action);
        break;
      case "lateGrants":
        this.#lateGrants(action);
        break;
      default:
        action satisfies never;
    }
  }

  #lateGrants({ share, lateMs, forMs, cutMs }: Extract<SpecialAction, { readonly type: "lateGrants" }>): void {
    const { network, time } = this.#cluster.world;
    const leader = this.#cluster.leader();
    const others = this.#cluster.inUse().filter(({ id }) => id !== leader?.id);
    const target = others[Math.floor(share * others.length)];
    if (target === undefined) return;
    network.lateAnswersTo.set(target.id, lateMs);
    time.after(forMs, 0, () => {
      if (!this.#help.isQuiet()) this.#help.cut(target.id, ["in", "out"], cutMs);
    });
    time.after(forMs + cutMs, 0, () => network.lateAnswersTo.delete(target.id));
  }

  #standStill(machine: SimMachine, action: Extract<SpecialAction, { readonly type: "standStill" }>): void {
    const { process } = machine;
    process?.pause(action.what);
    this.#cluster.world.time.after(action.durationMs, 0, () => process?.resume());
  }

  #lateAnswers(id: number, action: Extract<SpecialAction, { readonly type: "lateAnswers" }>): void {
    const { time, network } = this.#cluster.world;
    const { lateMs, cutAfterMs, durationMs } = action;
    // Half of it first: a leader that hears nothing for an election timeout steps down.
    network.delay(id, lateMs / 2);
    time.after(lateMs, 0, () => {
      if (!this.#help.isQuiet()) network.delay(id, lateMs);
    });
    time.after(cutAfterMs, 0, () => {
      if (!this.#help.isQuiet()) this.#help.cut(id, ["out"], durationMs);
    });
    time.after(cutAfterMs + durationMs, 0, () => network.delay(id, 0));
  }

  #received(nodeId: number): void {
    const install = this.#install;
    const machine = this.#cluster.machine(nodeId);
    const { time } = this.#cluster.world;
    if (install === undefined || machine === undefined || time.nowMs > install.untilMs || this.#help.isQuiet()) return;
    this.#install = undefined;
    const { mode, downMs } = install.fault;
    const { process } = machine;
    const delayMs = Math.max(0, this.#help.random.next() * 2 - 1) * nextWritesMs;
    time.after(delayMs, 0, () => {
      if (machine.process === process && !this.#help.isQuiet()) this.#help.crash(machine, { mode, downMs });
    });
  }

  #demoteAndTransfer(share: number): void {
    const leader = this.#cluster.leader();
    const others = this.#cluster.inUse().filter(({ id }) => id !== leader?.id);
    const target = others[Math.floor(share * others.length)];
    if (target === undefined || others.length < 2 || !this.#cluster.isWhole()) return;
    const work = this.#cluster.demoteAndTransfer?.(target.id, operatorTimeoutMs);
    if (work !== undefined) this.#help.track(work);
  }

  #removeUnheard({ share, cutMs }: Extract<SpecialAction, { readonly type: "removeUnheard" }>): void {
    const { network } = this.#cluster.world;
    const leader = this.#cluster.leader();
    const others = this.#cluster.inUse().filter(({ id }) => id !== leader?.id);
    const target = others[Math.floor(share * others.length)];
    network.onAnswer = (asker, method) => {
      if (asker !== target?.id || method !== forwardRpcMethod) return;
      network.onAnswer = undefined;
      if (!this.#help.isQuiet() && this.#help.exchange(target)) this.#help.cut(target.id, ["in"], cutMs);
    };
  }

  heal(): void {
    this.#install = undefined;
    this.#cluster.world.network.onAnswer = undefined;
    this.#cluster.world.network.lateAnswersTo.clear();
  }
}
