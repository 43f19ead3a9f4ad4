/** Measures two sides in turn: each pair of rounds follows at once, and which side begins changes from pair to pair. */
import { type Acknowledged, type LoadPlan, valueBytesMin } from "../load/load-plan.ts";
import type { Side } from "../sides/side.ts";
import { measureRound, type RoundSample } from "./measure-round.ts";
import { type PairSummary, type SamplePair, summarize } from "./pair-summary.ts";
import { killAndReadBack, type ReadBack } from "./read-back.ts";
import { type PairOptions, type Setting, type Shape, shapeName, shapesOf } from "./shapes.ts";

export interface ShapeResult {
  readonly shape: Shape;
  readonly summary: PairSummary;
  /** As they were measured. */
  readonly pairs: readonly SamplePair[];
}

export interface SettingResult {
  readonly setting: Setting;
  readonly shapes: readonly ShapeResult[];
  readonly readBacks: readonly ReadBack[];
}

export interface Starters {
  readonly base: (setting: Setting) => Promise<Side>;
  readonly head: (setting: Setting) => Promise<Side>;
}

/** Each setting has two clusters of its own, which run side by side until it is measured. */
export async function runPairs(
  starters: Starters,
  options: PairOptions,
  say: (text: string) => void,
): Promise<SettingResult[]> {
  const results: SettingResult[] = [];
  for (const setting of options.settings) {
    say(`starting ${setting.nodes} node${setting.nodes === 1 ? "" : "s"} of each side, ours over ${setting.transport}`);
    const base = await starters.base(setting);
    try {
      const head = await starters.head(setting);
      try {
        results.push(await runSetting({ base, head }, setting, options, say));
      } finally {
        await head.close();
      }
    } finally {
      await base.close();
    }
  }
  return results;
}

async function runSetting(
  sides: { readonly base: Side; readonly head: Side },
  setting: Setting,
  options: PairOptions,
  say: (text: string) => void,
): Promise<SettingResult> {
  const acknowledged = { base: [] as Acknowledged[], head: [] as Acknowledged[] };
  const shapes = shapesOf(options, setting);
  for (const name of ["base", "head"] as const) acknowledged[name].push(...(await warmUp(sides[name], options, say)));
  const results: ShapeResult[] = [];
  for (const [at, shape] of shapes.entries()) {
    const pairs: SamplePair[] = [];
    for (let pair = 0; pair < options.rounds; pair++) {
      const samples: { base?: RoundSample; head?: RoundSample } = {};
      for (const name of pair % 2 === 0 ? (["base", "head"] as const) : (["head", "base"] as const)) {
        const { kind, clients, valueBytes } = shape;
        const { keysPerClient, uniqueKeys, durationMs } = options;
        const plan: LoadPlan = { kind, round: `${at}-${pair}`, clients, valueBytes, keysPerClient, uniqueKeys };
        const round = await measureRound(sides[name], { shape, plan, durationMs });
        acknowledged[name].push(round.acknowledged);
        samples[name] = round.sample;
      }
      const { base, head } = samples;
      if (base === undefined || head === undefined) continue;
      pairs.push({ base, head });
      say(`${shapeName(shape)}, pair ${pair + 1} of ${options.rounds}: ${describe(base)} and ${describe(head)}`);
    }
    results.push({ shape, summary: summarize(pairs, options.seed), pairs });
  }
  say("killing all processes, and reading back what was acknowledged");
  const readBacks: ReadBack[] = [];
  for (const name of ["base", "head"] as const) {
    if (sides[name].recovers) readBacks.push(await killAndReadBack(sides[name], acknowledged[name]));
  }
  return { setting, shapes: results, readBacks };
}

/** Of this many clients, whatever is measured after it: so the way of each request is gone often enough. */
const warmUpClients = 64;
/** The way of a write is the longer one. */
const warmUpPutShare = 0.75;

/**
 * Loads a side that has just been started. What V8 has not compiled yet costs more than twice as much, and it compiles by how
 * often a function was called: for the first 10,000 writes or so.
 */
async function warmUp(side: Side, options: PairOptions, say: (text: string) => void): Promise<Acknowledged[]> {
  const { warmUpMs, keysPerClient, uniqueKeys } = options;
  if (warmUpMs === 0) return [];
  say(`warming up ${side.name} for ${warmUpMs / 1_000} s`);
  const acknowledged: Acknowledged[] = [];
  for (const [kind, share] of [["put", warmUpPutShare] as const, ["get", 1 - warmUpPutShare] as const]) {
    const clients = warmUpClients;
    const plan = { kind, round: `warm-${kind}`, clients, valueBytes: valueBytesMin, keysPerClient, uniqueKeys };
    const shape = { kind, clients, valueBytes: valueBytesMin, where: "all" } as const;
    acknowledged.push((await measureRound(side, { shape, plan, durationMs: warmUpMs * share })).acknowledged);
  }
  return acknowledged;
}

function describe({ perSecond, failures, firstFailure }: RoundSample): string {
  return failures === 0 ? `${perSecond.toFixed(0)}/s` : `void (${failures} failed: ${firstFailure})`;
}
