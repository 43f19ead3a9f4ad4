/** When members that were taken over lie, and for how long. */
import type { Random } from "@blixard/common";
import { between, integer } from "../seeds.ts";

/** One member says things that it made up, one every `gapMs` in the mean. */
export interface TakeOver {
  readonly type: "takeOver";
  /** Which of them: a share of the way through their list. */
  readonly share: number;
  /** What it says follows from this number, so that leaving one fault out does not change the others. */
  readonly salt: number;
  readonly gapMs: number;
  readonly durationMs: number;
}

/** Mean milliseconds between two of them. */
const meanGapMs = 2_500;

export function generateTakeOvers(
  random: Random,
  durationMs: number,
): { readonly atMs: number; readonly action: TakeOver }[] {
  const events: { readonly atMs: number; readonly action: TakeOver }[] = [];
  for (let atMs = 0; ; ) {
    atMs += -Math.log(1 - random.next()) * meanGapMs;
    if (atMs >= durationMs) return events;
    const action: TakeOver = {
      type: "takeOver",
      share: random.next(),
      salt: integer(random, 0, 2 ** 30),
      gapMs: between(random, 10, 120),
      durationMs: integer(random, 500, 5_000),
    };
    events.push({ atMs: Math.round(atMs), action });
  }
}
