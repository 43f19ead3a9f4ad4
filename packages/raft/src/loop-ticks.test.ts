import { describe, expect, it } from "@jest/globals";
import { LoopTicks } from "./loop-ticks.ts";
import { VirtualClock } from "./testing/index.ts";

describe("LoopTicks", () => {
  it("lets a follower read before it counts a late tick, and counts every second one of a process that is always late", async () => {
    const clock = new VirtualClock();
    let ticks = 0;
    const loop = new LoopTicks(clock, 50, { leads: () => false, tick: () => ticks++ });
    await clock.advance(1_000);
    expect(ticks).toBe(20);
    clock.standStill(22_000);
    await clock.advance(0);
    expect(ticks).toBe(20);
    await clock.advance(50);
    expect(ticks).toBe(21);
    for (let turn = 0; turn < 20; turn++) {
      clock.standStill(200);
      await clock.advance(0);
    }
    expect(ticks).toBe(31);
    loop.cancel();
  });

  it("lets a leader go on after one turn, so that its heartbeats are no later than they must be", async () => {
    const clock = new VirtualClock();
    let ticks = 0;
    const loop = new LoopTicks(clock, 50, { leads: () => true, tick: () => ticks++ });
    clock.standStill(1_000);
    await clock.advance(0);
    expect(ticks).toBe(1);
    clock.standStill(1_000);
    loop.cancel();
    await clock.advance(1_000);
    expect(ticks).toBe(1);
  });
});
