import { type Clock, sleep, type Watch } from "@blixard/common";

/** Resolves when `wake` has another value than `seen`, or at `untilMs` of the monotonic clock; undefined: only then. */
export async function untilWoken(
  clock: Clock,
  wake: Watch<number>,
  seen: number,
  untilMs: number | undefined,
): Promise<void> {
  const round = new AbortController();
  const waits: Promise<unknown>[] = [wake.until((count) => count !== seen, { signal: round.signal })];
  if (untilMs !== undefined) waits.push(sleep(clock, Math.max(0, untilMs - clock.monotonicMs()), round.signal));
  try {
    await Promise.race(waits);
  } finally {
    for (const pending of waits) pending.catch(() => {});
    round.abort();
  }
}
