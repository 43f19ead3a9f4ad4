/** The members of one simulated cluster that were taken over: who they are, and when they lie. */
import type { Random } from "@blixard/common";
import type { MemberRole } from "@blixard/protocol";
import { chance, randomOf } from "../seeds.ts";
import type { VirtualTime } from "../virtual-time.ts";
import { type ForgedCounts, ForgedTally } from "./forged-counts.ts";
import { Liar, type LiarDeps, type Member } from "./liar.ts";
import type { TakeOver } from "./take-over.ts";

/** Two that have no vote may say the same; with a witness there is one that has a vote too. */
export function takenRoles(random: Random): readonly MemberRole[] {
  return chance(random, 0.5) ? ["worker", "learner"] : ["worker", "learner", "witness"];
}

export interface ByzantineDeps extends Omit<LiarDeps, "tally"> {
  readonly seed: number;
  readonly time: VirtualTime;
}

const calmGapMs = 15;

export class ByzantineMembers {
  readonly #deps: ByzantineDeps;
  readonly #liars: Liar[] = [];
  readonly #tally = new ForgedTally();
  #calms = 0;
  /** Grows when all have to be silent. */
  #round = 0;

  constructor(deps: ByzantineDeps) {
    this.#deps = deps;
  }

  add(member: Member): void {
    const random = randomOf(this.#deps.seed, `liar-${member.machine.id}`);
    this.#liars.push(new Liar(member, { ...this.#deps, tally: this.#tally }, random));
  }

  get members(): readonly Member[] {
    return this.#liars.map(({ member }) => member);
  }

  counts(): ForgedCounts {
    const { refusals } = this.#deps;
    const all = new ForgedTally();
    all.addAll(this.#tally.counts);
    for (const [kind, refusal] of [
      ["claim addresses", "addresses forged"],
      ["claim removed", "removed by other"],
    ] as const) {
      const stopped = refusals.total(refusal);
      all.add(kind, { stopped, alone: stopped });
    }
    return all.counts;
  }

  /** One of them lies for a while. */
  play({ share, salt, gapMs, durationMs }: TakeOver): void {
    const liar = this.#liars[Math.floor(share * this.#liars.length)];
    if (liar === undefined) return;
    this.#burst(liar, randomOf(this.#deps.seed, `words-${salt}`), gapMs, durationMs);
  }

  /** All of them lie, in a cluster in which nothing else goes wrong. */
  lieInCalm(durationMs: number): void {
    this.#calms++;
    for (const liar of this.#liars) {
      const random = randomOf(this.#deps.seed, `calm-${this.#calms}-${liar.member.machine.id}`);
      this.#burst(liar, random, calmGapMs, durationMs);
    }
  }

  #burst(liar: Liar, random: Random, gapMs: number, durationMs: number): void {
    const { time } = this.#deps;
    const round = this.#round;
    const endMs = time.nowMs + durationMs;
    liar.begin(random);
    const next = (): void => {
      time.after(-Math.log(1 - random.next()) * gapMs, liar.member.machine.id, () => {
        if (round !== this.#round) return;
        if (time.nowMs >= endMs) {
          liar.end();
          return;
        }
        liar.speak(random);
        next();
      });
    };
    next();
  }

  silence(): void {
    this.#round++;
    for (const liar of this.#liars) liar.silence();
  }
}
