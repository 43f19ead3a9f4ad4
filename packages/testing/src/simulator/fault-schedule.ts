/** What goes wrong in a run, and when: a list that depends on the seed only, so that parts of it can be left out. */
import type { Random } from "@blixard/common";
import { generateTakeOvers, type TakeOver } from "./byzantine/take-over.ts";
import { generateRounds, type MembershipRound } from "./membership-rounds.ts";
import { between, chance, integer, randomOf, weighted } from "./seeds.ts";
import type { CrashMode } from "./sim-database.ts";
import type { DiskPart } from "./sim-disk.ts";
import { calmNetwork, type NetworkConditions } from "./sim-network.ts";
import {
  generateLateGrants,
  generateSpecialFaults,
  generateStandstills,
  type SpecialAction,
} from "./special-faults.ts";

/** Which machine is meant: the leader, or a share of the way through the list of machines in use. */
export type Target = { readonly leader: true } | { readonly leader: false; readonly share: number };

export type FaultAction =
  | { readonly type: "crash"; readonly target: Target; readonly mode: CrashMode; readonly downMs: number }
  | { readonly type: "crashAll"; readonly mode: CrashMode; readonly downMs: number }
  /** Whoever wins an election loses its power or its network a moment later: the schedule of the paper's figure 8. */
  | { readonly type: "crashNewLeaders"; readonly withinMs: number; readonly durationMs: number }
  /** Machines with a larger share of randomness than `cut` stand on the other side. */
  | { readonly type: "partition"; readonly cut: number; readonly salt: number; readonly durationMs: number }
  | { readonly type: "isolate"; readonly target: Target; readonly durationMs: number }
  /** Only one direction is cut: the machine does not hear, or is not heard. */
  | {
      readonly type: "oneWay";
      readonly target: Target;
      readonly direction: "in" | "out";
      readonly durationMs: number;
    }
  | { readonly type: "pause"; readonly target: Target; readonly durationMs: number }
  | { readonly type: "clockJump"; readonly target: Target; readonly byMs: number }
  | { readonly type: "slowDisk"; readonly target: Target; readonly factor: number; readonly durationMs: number }
  | { readonly type: "diskFull"; readonly target: Target; readonly durationMs: number }
  | { readonly type: "syncError"; readonly target: Target }
  | { readonly type: "bitRot"; readonly target: Target; readonly part: DiskPart }
  /** The store is gone, with the power or with the process only; the operator lets the node come back without it. */
  | { readonly type: "loseStore"; readonly target: Target; readonly mode: CrashMode }
  /** A backup is put back that is older than what the node has promised since. */
  | { readonly type: "restoreCopy"; readonly target: Target }
  | { readonly type: "network"; readonly conditions: NetworkConditions }
  | { readonly type: "addNode" }
  | { readonly type: "removeNode"; readonly target: Target }
  | { readonly type: "transferLeader" }
  | SpecialAction
  | TakeOver
  | MembershipRound;

export interface FaultEvent {
  /** Milliseconds since the start of its storm. */
  readonly atMs: number;
  readonly action: FaultAction;
}

/** A time with faults and clients, and the quiet time after it, in which the cluster has to come back and stay. */
export interface Storm {
  readonly durationMs: number;
  readonly restMs: number;
  readonly faults: readonly FaultEvent[];
}

export interface StormLength {
  readonly totalMs: number;
  readonly stormMs: number;
  readonly restMs: number;
}

/** Mean milliseconds between two faults. */
const meanGapMs = 4_000;

/** Share of runs in which no leader lives long. */
const huntShare = 0.25;

/** `totalMs` of storms of at most `stormMs` each, every one followed by a rest of `restMs`; without rests it is one. */
export function generateStorms(seed: number, length: StormLength, { takeOvers = false, rounds = false } = {}): Storm[] {
  const { totalMs, stormMs, restMs } = length;
  const storms: Storm[] = [];
  for (let leftMs = totalMs; leftMs > 0; ) {
    const durationMs = restMs === 0 ? leftMs : Math.min(leftMs, stormMs);
    leftMs -= durationMs;
    const rest = Math.min(leftMs, restMs);
    leftMs -= rest;
    const source = storms.length === 0 ? "faults" : `faults-${storms.length}`;
    if (rounds) {
      const random = randomOf(seed, `rounds-${source}`);
      const network: FaultEvent = { atMs: 0, action: networkOf(random) };
      storms.push({ durationMs, restMs: rest, faults: [network, ...generateRounds(random, durationMs)] });
      continue;
    }
    const faults: FaultEvent[] = generateFaults(randomOf(seed, source), durationMs);
    // From a source of their own: what they are does not shift the others.
    faults.push(...generateSpecialFaults(randomOf(seed, `special-${source}`), durationMs));
    faults.push(...generateStandstills(randomOf(seed, `standstill-${source}`), durationMs));
    faults.push(...generateLateGrants(randomOf(seed, `late-grants-${source}`), durationMs));
    if (takeOvers) faults.push(...generateTakeOvers(randomOf(seed, `byzantine-${source}`), durationMs));
    storms.push({ durationMs, restMs: rest, faults });
  }
  return storms;
}

/** The faults of `durationMs` of a run. */
function generateFaults(random: Random, durationMs: number): FaultEvent[] {
  if (chance(random, huntShare)) return generateHunt(random, durationMs);
  const events: FaultEvent[] = [{ atMs: 0, action: networkOf(random) }];
  let atMs = 0;
  for (;;) {
    atMs += -Math.log(1 - random.next()) * meanGapMs;
    if (atMs >= durationMs) return events;
    events.push({ atMs: Math.round(atMs), action: actionOf(random) });
  }
}

/**
 * One leader after the other goes while its first entries are on their way: what the paper's figure 8 is about. Messages
 * are slow, so that there is time between an entry and the next one.
 */
function generateHunt(random: Random, durationMs: number): FaultEvent[] {
  const delayMsMin = between(random, 5, 20);
  const conditions = { ...calmNetwork, delayMsMin, delayMsMax: delayMsMin + between(random, 0, 5) };
  // From the first probe to the acknowledgement of a follower that lacks entries: two round trips and more.
  const withinMs = between(random, 5, 10) * delayMsMin;
  return [
    { atMs: 0, action: { type: "network", conditions } },
    { atMs: 0, action: { type: "crashNewLeaders", withinMs, durationMs } },
    { atMs: 100, action: { type: "crash", target: { leader: true }, mode: "lost", downMs: 1_000 } },
  ];
}

const makers: readonly (readonly [number, (random: Random) => FaultAction])[] = [
  [24, (random) => ({ type: "crash", target: targetOf(random), mode: modeOf(random), downMs: downOf(random) })],
  [
    4,
    (random) => ({
      type: "crashNewLeaders",
      withinMs: between(random, 0, 40),
      durationMs: integer(random, 5_000, 20_000),
    }),
  ],
  [4, (random) => ({ type: "crashAll", mode: modeOf(random), downMs: downOf(random) })],
  [
    10,
    (random) => ({
      type: "partition",
      cut: between(random, 0.3, 0.7),
      salt: integer(random, 0, 2 ** 30),
      durationMs: lastsOf(random),
    }),
  ],
  [10, (random) => ({ type: "isolate", target: targetOf(random), durationMs: lastsOf(random) })],
  [
    8,
    (random) => ({
      type: "oneWay",
      target: targetOf(random),
      direction: chance(random, 0.5) ? "in" : "out",
      durationMs: lastsOf(random),
    }),
  ],
  [8, (random) => ({ type: "pause", target: targetOf(random), durationMs: lastsOf(random) })],
  [4, (random) => ({ type: "clockJump", target: targetOf(random), byMs: between(random, -3_600_000, 3_600_000) })],
  [
    6,
    (random) => ({
      type: "slowDisk",
      target: targetOf(random),
      factor: 10 ** between(random, 1, 4.3),
      durationMs: lastsOf(random),
    }),
  ],
  [4, (random) => ({ type: "diskFull", target: targetOf(random), durationMs: lastsOf(random) })],
  [4, (random) => ({ type: "syncError", target: targetOf(random) })],
  [3, (random) => ({ type: "bitRot", target: targetOf(random), part: partOf(random) })],
  [3, (random) => ({ type: "loseStore", target: targetOf(random), mode: modeOf(random) })],
  [3, (random) => ({ type: "restoreCopy", target: targetOf(random) })],
  [8, networkOf],
  [3, () => ({ type: "addNode" })],
  [3, (random) => ({ type: "removeNode", target: targetOf(random) })],
  [5, () => ({ type: "transferLeader" })],
];

function actionOf(random: Random): FaultAction {
  const at = weighted(
    random,
    makers.map(([weight]) => weight),
  );
  const maker = makers[at];
  if (maker === undefined) throw new RangeError("no fault has this number");
  return maker[1](random);
}

function targetOf(random: Random): Target {
  return chance(random, 0.4) ? { leader: true } : { leader: false, share: random.next() };
}

function modeOf(random: Random): CrashMode {
  return (["kill", "lost", "prefix", "reordered"] as const)[weighted(random, [3, 4, 2, 2])] ?? "lost";
}

function partOf(random: Random): DiskPart {
  return (["log", "state", "snapshots"] as const)[weighted(random, [2, 1, 1])] ?? "log";
}

/** Some machines come back at once, before the others have missed them. */
function downOf(random: Random): number {
  return chance(random, 0.3) ? integer(random, 1, 200) : integer(random, 200, 8_000);
}

function lastsOf(random: Random): number {
  return chance(random, 0.2) ? integer(random, 50, 1_000) : integer(random, 1_000, 12_000);
}

function networkOf(random: Random): FaultAction {
  if (chance(random, 0.4)) return { type: "network", conditions: calmNetwork };
  const delayMsMin = between(random, 0.1, 5);
  return {
    type: "network",
    conditions: {
      loss: chance(random, 0.6) ? between(random, 0, 0.3) : 0,
      duplication: chance(random, 0.5) ? between(random, 0, 0.5) : 0,
      reordering: chance(random, 0.5) ? between(random, 0, 0.3) : 0,
      lateCopies: chance(random, 0.3) ? between(random, 0, 0.1) : 0,
      delayMsMin,
      delayMsMax: delayMsMin + between(random, 1, 60),
    },
  };
}

/** One line for people. */
export function describeFault({ atMs, action }: FaultEvent): string {
  const { type, ...fields } = action;
  const rounded = (_: string, value: unknown) =>
    typeof value === "number" && !Number.isInteger(value) ? Number(value.toFixed(3)) : value;
  return `${(atMs / 1_000).toFixed(3)} s ${type} ${JSON.stringify(fields, rounded)}`;
}
