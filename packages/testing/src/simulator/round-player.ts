/** Plays the operator of membership-rounds.ts, and holds what it is told against what became of it. */
import { errorCodeOf } from "@blixard/common";
import type { CrashFault, FaultTarget } from "./fault-target.ts";
import type { MembershipRound } from "./membership-rounds.ts";
import { outcomeOf } from "./sim-caller.ts";
import type { SimMachine } from "./sim-machine.ts";

export interface RoundCounts {
  readonly rounds: number;
  /** Rounds in which the operator was told that the change is done. */
  readonly done: number;
  /** Leaders that ended before the change was answered. */
  readonly killed: number;
}

export interface RoundHelp {
  readonly crash: (machine: SimMachine, fault: CrashFault) => void;
  /** Takes a machine out of the cluster, and switches it off when it is out. */
  readonly remove: (id: number) => Promise<void>;
  readonly track: (work: Promise<void>) => void;
}

const operatorTimeoutMs = 8_000;
const pollMs = 50;
const healTimeoutMs = 60_000;
/** What was under way when the operator was refused has happened by then, if it ever does. */
const settleMs = 1_500;

export class RoundPlayer {
  readonly #cluster: FaultTarget;
  readonly #help: RoundHelp;
  readonly #demoted: number[] = [];
  #last: Promise<void> = Promise.resolve();
  #counts = { rounds: 0, done: 0, killed: 0 };

  constructor(cluster: FaultTarget, help: RoundHelp) {
    this.#cluster = cluster;
    this.#help = help;
  }

  get counts(): RoundCounts {
    return this.#counts;
  }

  play(round: MembershipRound): void {
    if (this.#cluster.setRole === undefined) return;
    this.#last = this.#last.then(() => this.#round(round)).catch(() => {});
    this.#help.track(this.#last);
  }

  async #round(round: MembershipRound): Promise<void> {
    const change = this.#changeOf(round);
    if (change === undefined) return;
    this.#counts = { ...this.#counts, rounds: this.#counts.rounds + 1 };
    let isOver = false;
    this.#cluster.world.time.after(round.killAfterMs, 0, () => {
      const leader = this.#cluster.leader();
      if (leader === undefined) return;
      if (!isOver) this.#counts = { ...this.#counts, killed: this.#counts.killed + 1 };
      this.#help.crash(leader, round);
    });
    try {
      await change.ask();
      isOver = true;
      this.#counts = { ...this.#counts, done: this.#counts.done + 1 };
    } catch (error) {
      isOver = true;
      if (outcomeOf(error) === "not_applied") await this.#assertNotDone(round, change.isDone, error);
    }
  }

  /** Resolves when the machine serves, or does not come to that soon. */
  async #grow(): Promise<void> {
    const { time } = this.#cluster.world;
    await this.#cluster.join();
    const machine = this.#cluster.machines().at(-1);
    const endMs = time.nowMs + operatorTimeoutMs;
    while (machine?.phase !== "up" && time.nowMs < endMs) {
      await new Promise<void>((resolve) => time.after(pollMs, 0, resolve));
    }
  }

  /** What was called "not applied" never happens. */
  async #assertNotDone({ change }: MembershipRound, isDone: () => boolean, error: unknown): Promise<void> {
    const { time, violations } = this.#cluster.world;
    await new Promise<void>((resolve) => time.after(settleMs, 0, resolve));
    if (!isDone()) return;
    const detail = `${change} was refused with ${errorCodeOf(error)} as not applied, and is done`;
    violations.report("what is not applied does not happen", detail);
  }

  /** What the operator asks for, and whether it is done as the leader has it; undefined when there is nothing to do. */
  #changeOf({ change, share }: MembershipRound): Change | undefined {
    const cluster = this.#cluster;
    const voters = cluster.inUse().filter(({ id }) => !this.#demoted.includes(id));
    const target = voters[Math.floor(share * voters.length)];
    const roleOf = (id: number) => cluster.roleOf?.(id);
    switch (change) {
      case "grow":
        return { ask: () => this.#grow(), isDone: () => false };
      case "demote": {
        if (target === undefined || voters.length < 3) return undefined;
        const { id } = target;
        this.#demoted.push(id);
        const ask = async () => cluster.setRole?.(id, "learner", operatorTimeoutMs);
        return { ask, isDone: () => roleOf(id) === "learner" };
      }
      case "promote": {
        const id = this.#demoted.shift();
        if (id === undefined) return undefined;
        const before = roleOf(id);
        this.#demoted.push(id);
        const ask = async () => {
          await cluster.setRole?.(id, "voter", operatorTimeoutMs);
          this.#demoted.splice(this.#demoted.indexOf(id), 1);
        };
        return { ask, isDone: () => before === "learner" && roleOf(id) === "voter" };
      }
      case "replace":
      case "shrink": {
        if (target === undefined || voters.length < (change === "shrink" ? 4 : 3)) return undefined;
        const { id } = target;
        let isTold = false;
        const ask = async () => {
          await this.#help.remove(id);
          isTold = true;
          if (change === "replace") await this.#grow();
        };
        return { ask, isDone: () => !isTold && roleOf(id) === "removed" };
      }
      default:
        return change satisfies never;
    }
  }

  /** Everybody votes again. @throws when that does not succeed */
  async heal(): Promise<void> {
    await this.#last;
    for (const id of this.#demoted.splice(0)) {
      if (this.#cluster.inUse().some((machine) => machine.id === id)) {
        await this.#cluster.setRole?.(id, "voter", healTimeoutMs);
      }
    }
  }
}

interface Change {
  readonly ask: () => Promise<void>;
  readonly isDone: () => boolean;
}
