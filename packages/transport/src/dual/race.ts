/** Two dials of which the first has a head start: the second begins when that is over, or when the first has failed. */
import { abortReason, type Clock, offAbort, onAbort } from "@blixard/common";

export interface RaceOptions<T> {
  readonly clock: Clock;
  readonly headStartMs: number;
  readonly signal: AbortSignal;
  /** Two, in the order of preference. */
  readonly dials: readonly ((signal: AbortSignal) => Promise<T>)[];
  /** Called with the result of a dial that came too late. */
  readonly discard: (late: T) => void;
}

export interface RaceOutcome<T> {
  /** Undefined when all failed. */
  readonly result: T | undefined;
  readonly winner: number;
  /** The error of each dial; undefined for a dial that had not failed by then. */
  readonly errors: readonly unknown[];
}

/** Rejects only with the reason of the signal. */
export function raceWithHeadStart<T>(options: RaceOptions<T>): Promise<RaceOutcome<T>> {
  const { clock, headStartMs, signal, dials, discard } = options;
  return new Promise((resolve, reject) => {
    const losers = new AbortController();
    const errors: unknown[] = dials.map(() => undefined);
    let started = 0;
    let failed = 0;
    let settled = false;
    const settle = (run: () => void) => {
      settled = true;
      timer.cancel();
      offAbort(signal, abort);
      run();
      losers.abort(new Error("another dial was faster"));
    };
    const abort = () => settle(() => reject(abortReason(signal)));
    const startNext = () => {
      const index = started;
      const dial = dials[index];
      if (dial === undefined || settled) return;
      started++;
      dial(losers.signal).then(
        (result) => {
          if (settled) discard(result);
          else settle(() => resolve({ result, winner: index, errors: [...errors] }));
        },
        (error: unknown) => {
          errors[index] = error;
          failed++;
          if (settled) return;
          if (failed === dials.length) settle(() => resolve({ result: undefined, winner: -1, errors }));
          else startNext();
        },
      );
    };
    const timer = clock.setTimer(headStartMs, startNext);
    if (signal.aborted) return abort();
    onAbort(signal, abort);
    startNext();
  });
}
