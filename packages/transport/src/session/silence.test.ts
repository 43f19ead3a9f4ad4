import { VirtualClock } from "@blixard/raft/testing";
import { describe, expect, it } from "@jest/globals";
import { Silence } from "./silence.ts";

const heartbeatMs = 300;

describe("Silence", () => {
  it("counts the heartbeats in which nothing was heard", async () => {
    const clock = new VirtualClock();
    const silence = new Silence(clock, heartbeatMs);
    const missed = [];
    for (const heard of [true, false, false, true, false, false, false]) {
      await clock.advance(heartbeatMs);
      missed.push(silence.tick(heard));
    }
    expect(missed).toEqual([0, 1, 2, 0, 1, 2, 3]);
  });

  it("gives the first of them more time", async () => {
    const clock = new VirtualClock();
    const silence = new Silence(clock, heartbeatMs, 2 * heartbeatMs);
    const missed = [];
    for (let beat = 1; beat <= 4; beat++) {
      await clock.advance(heartbeatMs);
      missed.push(silence.tick(false));
    }
    expect(missed).toEqual([0, 0, 1, 2]);
  });

  it("misses nobody for the time in which the process stood still", async () => {
    const clock = new VirtualClock();
    const silence = new Silence(clock, heartbeatMs);
    for (let beat = 1; beat <= 10; beat++) {
      clock.standStill(2_000);
      await clock.advance(10);
      expect(silence.tick(false)).toBe(0);
    }
    await clock.advance(3 * heartbeatMs);
    expect(silence.tick(false)).toBe(3);
  });
});
