import { systemClock } from "@blixard/common/system";
import { describe, expect, it } from "@jest/globals";
import { StartTurns } from "./start-turns.ts";

const last = Number.POSITIVE_INFINITY;
const never = new AbortController().signal;

function turnsOf(...places: readonly (readonly [string, number, number?])[]): StartTurns {
  const turns = new StartTurns(systemClock);
  turns.begin(new Map(places.map(([vmId, order, delayMs = 0]) => [vmId, { order, delayMs }])));
  return turns;
}

describe("StartTurns", () => {
  it("lets an order begin when each VM of the lower ones has started or does not start", async () => {
    const turns = turnsOf(["c", last], ["a1", 1], ["b", 2], ["a2", 1]);
    const begun: string[] = [];
    const waiting = ["a1", "a2", "b", "c"].map((vmId) => turns.turn(vmId, never).then(() => begun.push(vmId)));
    await Promise.all(waiting.slice(0, 2));
    expect(begun).toEqual(["a1", "a2"]);
    turns.done("a1", { started: true });
    expect(turns.mustWait("b")).toBe(true);
    turns.done("a2", { started: false });
    await waiting[2];
    expect([begun, turns.mustWait("c")]).toEqual([["a1", "a2", "b"], true]);
    turns.done("b", { started: true });
    turns.done("b", { started: true });
    await waiting[3];
    expect(begun).toEqual(["a1", "a2", "b", "c"]);
  });

  it("waits for the delay of what started, not of what did not", async () => {
    const turns = turnsOf(["a", 1, 50], ["b", 2, 3_600_000], ["c", 3]);
    turns.done("a", { started: true });
    expect(turns.mustWait("b")).toBe(true);
    await turns.turn("b", never);
    turns.done("b", { started: false });
    await turns.turn("c", never);
  });

  it("holds up nobody who has no place, and ends when it is not wanted any more", async () => {
    const turns = turnsOf(["a", 1], ["b", 2]);
    await turns.turn("other", never);
    const stop = new AbortController();
    const waiting = turns.turn("b", stop.signal);
    stop.abort();
    await expect(waiting).rejects.toMatchObject({ code: "CANCELLED" });
  });
});
