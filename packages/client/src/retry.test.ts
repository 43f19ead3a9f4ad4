import { BlixardError, type Clock, notApplied } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import { describe, expect, it } from "@jest/globals";
import { withRetries } from "./retry.ts";

const deps = { clock: systemClock, random: systemRandom };
const policy = { timeoutMs: 5_000, unreachableMs: 5_000 };

/** How often something is tried that fails like that the first time. */
async function attempts(error: BlixardError, once: boolean): Promise<number> {
  let count = 0;
  await withRetries(deps, { ...policy, once }, undefined, async () => {
    count++;
    if (count === 1) throw error;
  }).catch(() => {});
  return count;
}

describe("withRetries", () => {
  it("sends what must happen once again only when it did not begin", async () => {
    const unknown = new BlixardError("DEADLINE_EXCEEDED", "", { outcome: "unknown" });
    const silent = new BlixardError("UNAVAILABLE", "");
    const refused = notApplied("OVERLOADED", "");
    const counts = [unknown, silent, refused].map(async (error) => [
      await attempts(error, false),
      await attempts(error, true),
    ]);
    expect(await Promise.all(counts)).toEqual([
      [2, 1],
      [2, 1],
      [2, 2],
    ]);
  });

  it("tells what one node said, and not that nobody answers at the other addresses", async () => {
    let nowMs = 0;
    const setTimer: Clock["setTimer"] = (delayMs, run) => {
      nowMs += delayMs;
      return systemClock.setTimer(0, run);
    };
    const clock: Clock = { ...systemClock, monotonicMs: () => nowMs, setTimer };
    const addresses = 3;
    const limits = { timeoutMs: 15_000, unreachableMs: 3_000, addresses };
    const ended = withRetries({ ...deps, clock }, limits, undefined, async (_, number) => {
      if (number % addresses === 0) throw notApplied("NO_LEADER", "no leader");
      // A machine that is off: it is waited for.
      nowMs += 2_000;
      throw notApplied("UNREACHABLE", "nobody is there");
    });
    await expect(ended).rejects.toMatchObject({ code: "NO_LEADER" });
    expect(nowMs).toBeGreaterThan(limits.timeoutMs - 3_000);
  });
});
