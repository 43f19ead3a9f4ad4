import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { Watchdog } from "./watchdog.ts";

class Host {
  nowMs = 0;
  readonly alive = new Set<number>();
  readonly notes: number[] = [];
  /** Processes that do not end at the first signal. */
  stubborn = new Set<number>();

  watchdog(untilMs: number): Watchdog {
    return new Watchdog(
      {
        nowMs: () => this.nowMs,
        isAlive: ({ pid }) => this.alive.has(pid),
        kill: ({ pid }) => void (this.stubborn.delete(pid) || this.alive.delete(pid)),
        note: ({ pid }) => this.notes.push(pid),
      },
      untilMs,
    );
  }

  start(pid: number): { vmId: string; pid: number; startTime: string } {
    this.alive.add(pid);
    return { vmId: `vm-${pid}`, pid, startTime: "1" };
  }
}

describe("Watchdog", () => {
  it("kills what it holds when the lease is over, again until it has ended, and writes it down once", () => {
    const host = new Host();
    const watchdog = host.watchdog(1_000);
    watchdog.hold(host.start(7));
    host.stubborn.add(7);
    host.nowMs = 999;
    watchdog.look();
    expect([...host.alive]).toEqual([7]);
    host.nowMs = 1_000;
    watchdog.look();
    watchdog.look();
    watchdog.look();
    expect([...host.alive]).toEqual([]);
    expect(watchdog.count).toBe(0);
    expect(host.notes).toEqual([7]);
  });

  it("kills at once what it is given without a lease", () => {
    const host = new Host();
    host.watchdog(0).hold(host.start(7));
    expect([...host.alive]).toEqual([]);
  });

  it("lets nothing live past the end of the last lease that it was told of", () => {
    const step = fc.oneof(
      fc.record({ type: fc.constant("time" as const), ms: fc.integer({ min: 0, max: 2_000 }) }),
      fc.record({ type: fc.constant("lease" as const), ms: fc.integer({ min: -500, max: 2_000 }) }),
      fc.record({ type: fc.constant("hold" as const), ms: fc.integer({ min: 1, max: 9 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const host = new Host();
        const watchdog = host.watchdog(500);
        let untilMs = 500;
        for (const { type, ms } of steps) {
          if (type === "time") host.nowMs += ms;
          else if (type === "hold") watchdog.hold(host.start(ms));
          else {
            untilMs = host.nowMs + ms;
            watchdog.untilMs = untilMs;
          }
          watchdog.look();
          if (host.nowMs >= untilMs) expect(host.alive.size).toBe(0);
        }
      }),
    );
  });
});
