/**
 * Faults that are aimed at one rule each. Chance alone brings them about too seldom: a machine that hears everything late
 * and then is heard no more, a crash in the middle of installing a snapshot, messages in another member's name, two
 * operators who contradict each other, a member that is removed while answers to it are lost, and a machine that sleeps for
 * longer than a node waits for its disk.
 */
import type { Random } from "@blixard/common";
import { between, chance, integer, pick } from "./seeds.ts";
import type { CrashMode } from "./sim-database.ts";

export type SpecialAction =
  /**
   * What is sent to the leader comes `lateMs` late, and after a while nothing that it sends arrives: it still gets
   * answers when the others, who heard its questions in time, may have another leader.
   */
  | {
      readonly type: "lateAnswers";
      readonly lateMs: number;
      readonly cutAfterMs: number;
      readonly durationMs: number;
    }
  /**
   * The leader is cut off for a while, with what it still appends. Whoever has saved a snapshot that it was sent
   * meanwhile, or soon after, crashes before its log and its state follow.
   */
  | {
      readonly type: "crashInstalling";
      readonly cutMs: number;
      readonly durationMs: number;
      readonly mode: CrashMode;
      readonly downMs: number;
    }
  /** A share of the messages that name their sender arrives again, from another member than that. */
  | { readonly type: "echo"; readonly share: number; readonly durationMs: number }
  /** A member loses its vote, and is handed the leadership at the same time. */
  | { readonly type: "demoteAndTransfer"; readonly share: number }
  /**
   * The answer to the next call that a member forwards is lost, and it hears nothing for `cutMs`, in which it is removed:
   * what it has forwarded is in the log, and when it asks again it is refused.
   */
  | { readonly type: "removeUnheard"; readonly share: number; readonly cutMs: number }
  /** A member hears the answers to its calls `lateMs` late for a while, and then is cut off: what it was granted is old. */
  | {
      readonly type: "lateGrants";
      readonly share: number;
      readonly lateMs: number;
      readonly forMs: number;
      readonly cutMs: number;
    }
  /** The leader, or its machine with its clock, stands still for a while and goes on where it was. */
  | { readonly type: "standStill"; readonly what: "process" | "machine"; readonly durationMs: number };

export interface SpecialEvent {
  readonly atMs: number;
  readonly action: SpecialAction;
}

/** Mean milliseconds between two of them. */
const meanGapMs = 12_000;

const makers: readonly ((random: Random) => SpecialAction)[] = [
  (random) => ({
    type: "lateAnswers",
    lateMs: between(random, 300, 1_900),
    cutAfterMs: integer(random, 2_000, 5_000),
    durationMs: integer(random, 3_000, 8_000),
  }),
  (random) => ({
    type: "crashInstalling",
    cutMs: integer(random, 1_500, 5_000),
    durationMs: integer(random, 6_000, 12_000),
    mode: pick(random, ["kill", "lost", "prefix", "reordered"]),
    downMs: chance(random, 0.5) ? integer(random, 1, 200) : integer(random, 200, 3_000),
  }),
  (random) => ({ type: "echo", share: between(random, 0.05, 0.5), durationMs: integer(random, 2_000, 10_000) }),
  (random) => ({ type: "demoteAndTransfer", share: random.next() }),
  (random) => ({
    type: "removeUnheard",
    share: random.next(),
    // A follower that hears nothing for longer knows no leader any more whom it could ask again.
    cutMs: integer(random, 300, 1_500),
  }),
];

/** Mean milliseconds between two times in which the leader stands still. */
const standStillGapMs = 15_000;

/** From a source of their own: what they are does not shift the others. */
export function generateStandstills(random: Random, durationMs: number): SpecialEvent[] {
  const events: SpecialEvent[] = [];
  for (let atMs = 0; ; ) {
    atMs += -Math.log(1 - random.next()) * standStillGapMs;
    if (atMs >= durationMs) return events;
    // Long enough for another leader; some longer than any limit of a disk.
    const lastsMs = chance(random, 0.3) ? integer(random, 20_000, 40_000) : integer(random, 1_500, 6_000);
    const what = pick(random, ["process", "machine"] as const);
    events.push({ atMs: Math.round(atMs), action: { type: "standStill", what, durationMs: lastsMs } });
  }
}

/** Mean milliseconds between two times in which the answers to a member are late. */
const lateGrantsGapMs = 15_000;

/** From a source of their own as well. */
export function generateLateGrants(random: Random, durationMs: number): SpecialEvent[] {
  const events: SpecialEvent[] = [];
  for (let atMs = 0; ; ) {
    atMs += -Math.log(1 - random.next()) * lateGrantsGapMs;
    if (atMs >= durationMs) return events;
    const lateMs = integer(random, 1_000, 1_450);
    const [forMs, cutMs] = [integer(random, 3_000, 6_000), integer(random, 5_000, 9_000)];
    events.push({ atMs: Math.round(atMs), action: { type: "lateGrants", share: random.next(), lateMs, forMs, cutMs } });
  }
}

/** Those of `durationMs` of a run. */
export function generateSpecialFaults(random: Random, durationMs: number): SpecialEvent[] {
  const events: SpecialEvent[] = [];
  for (let atMs = 0; ; ) {
    atMs += -Math.log(1 - random.next()) * meanGapMs;
    if (atMs >= durationMs) return events;
    events.push({ atMs: Math.round(atMs), action: pick(random, makers)(random) });
  }
}
