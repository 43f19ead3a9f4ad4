import { describe, expect, it } from "@jest/globals";
import { LoopTicks, stretchMaxOf } from "./loop-ticks.ts";
import { VirtualClock } from "./testing/index.ts";

describe("LoopTicks", () => {
  it("lets a follower read before it counts a late tick, and counts every second one of a process that is always late", async () => {
    const clock = new VirtualClock();
    let ticks = 0;
    const loop = new LoopTicks(clock, { intervalMs: 50, stretchMax: 1 }, { leads: () => false, tick: () => ticks++ });
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
    const loop = new LoopTicks(clock, { intervalMs: 50, stretchMax: 1 }, { leads: () => true, tick: () => ticks++ });
    clock.standStill(1_000);
    await clock.advance(0);
    expect(ticks).toBe(1);
    clock.standStill(1_000);
    loop.cancel();
    await clock.advance(1_000);
    expect(ticks).toBe(1);
  });

  it("stretches with the lateness that it measures, within its bound, and comes back", async () => {
    const clock = new VirtualClock();
    let ticks = 0;
    const loop = new LoopTicks(clock, { intervalMs: 50, stretchMax: 4 }, { leads: () => true, tick: () => ticks++ });
    const ticksOfSecond = async () => {
      const before = ticks;
      await clock.advance(1_000);
      return ticks - before;
    };
    expect(await ticksOfSecond()).toBe(20);
    clock.standStill(60_000);
    await clock.advance(0);
    // One time of standing still is no shortage.
    expect(await ticksOfSecond()).toBeGreaterThanOrEqual(19);
    for (let turn = 0; turn < 200; turn++) {
      clock.standStill(400);
      await clock.advance(0);
    }
    expect(await ticksOfSecond()).toBeLessThan(8);
    expect(ticks).toBeGreaterThanOrEqual(5);
    for (let second = 0; second < 30; second++) await ticksOfSecond();
    expect(await ticksOfSecond()).toBe(20);
    loop.cancel();
  });
});

describe("stretchMaxOf", () => {
  it("leaves room for two heartbeats before the election of a node that is not late", () => {
    expect(stretchMaxOf({ heartbeatTicks: 2, electionTicks: 20 })).toBe(4);
    expect(stretchMaxOf({ heartbeatTicks: 2, electionTicks: 10 })).toBe(2.5);
    expect(stretchMaxOf({ heartbeatTicks: 1, electionTicks: 2 })).toBe(1);
  });
});
