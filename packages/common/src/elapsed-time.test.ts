import { describe, expect, it } from "@jest/globals";
import { ElapsedTime } from "./elapsed-time.ts";

/** The clocks of one machine. The wall clock is read in whole milliseconds. */
function machine() {
  const now = { monotonicMs: 5_000.4, unixMs: 1_700_000_000_000.3, bootMs: 90_000 };
  let bootReadings = 0;
  const elapsed = new ElapsedTime({
    monotonicMs: () => now.monotonicMs,
    unixMs: () => Math.floor(now.unixMs),
    bootMs: () => {
      bootReadings++;
      return Math.floor(now.bootMs / 10) * 10;
    },
  });
  return {
    elapsed,
    bootReadings: () => bootReadings,
    run: (ms: number) => {
      now.monotonicMs += ms;
      now.unixMs += ms;
      now.bootMs += ms;
    },
    sleep: (ms: number) => {
      now.unixMs += ms;
      now.bootMs += ms;
    },
    setWall: (byMs: number) => {
      now.unixMs += byMs;
    },
  };
}

describe("ElapsedTime", () => {
  it("is the monotonic time of a machine that runs, however often it is read", () => {
    const { elapsed, run, bootReadings } = machine();
    const startMs = elapsed.nowMs();
    for (let count = 0; count < 10_000; count++) {
      run(0.7);
      elapsed.nowMs();
    }
    expect(elapsed.nowMs() - startMs).toBeCloseTo(7_000, 3);
    expect(bootReadings()).toBe(1);
  });

  it("goes on while the machine sleeps", () => {
    const { elapsed, run, sleep } = machine();
    const startMs = elapsed.nowMs();
    run(100);
    sleep(22_000);
    expect(elapsed.nowMs() - startMs).toBeGreaterThanOrEqual(22_099);
    expect(elapsed.nowMs() - startMs).toBeLessThan(22_112);
  });

  it("sees a sleep behind a wall clock that is put back at the same time", () => {
    const { elapsed, sleep, setWall } = machine();
    const startMs = elapsed.nowMs();
    sleep(22_000);
    setWall(-3_600_000);
    expect(elapsed.nowMs() - startMs).toBeGreaterThanOrEqual(21_990);
  });

  it("is ahead of a wall clock that was put forward, and does not go back with it", () => {
    const { elapsed, run, setWall } = machine();
    const startMs = elapsed.nowMs();
    setWall(60_000);
    const aheadMs = elapsed.nowMs();
    expect(aheadMs - startMs).toBeGreaterThanOrEqual(59_999);
    setWall(-60_000);
    expect(elapsed.nowMs()).toBeGreaterThanOrEqual(aheadMs);
    run(500);
    expect(elapsed.nowMs()).toBeGreaterThanOrEqual(aheadMs + 499);
  });
});
