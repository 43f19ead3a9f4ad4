import { describe, expect, it } from "@jest/globals";
import { PeerChoice } from "./peer-choice.ts";

const fallenBack = (nowMs = 0, choice = new PeerChoice({ healthyMs: 10_000 })) => {
  choice.answered("fallback", "iroh did not answer in time", nowMs);
  return choice;
};
/** Probes every second until the choice returns; the time of the return. */
const returnOf = (choice: PeerChoice, fromMs: number) => {
  for (let nowMs = fromMs; nowMs < fromMs + 1_000_000; nowMs += 1_000) if (choice.probeAnswered(nowMs)) return nowMs;
  throw new Error("it never returned");
};

describe("PeerChoice", () => {
  it("falls back only when the fallback answered and the preferred one failed", () => {
    const choice = new PeerChoice({ healthyMs: 10_000 });
    choice.answered("preferred", undefined, 0);
    choice.answered("fallback", undefined, 0);
    expect(choice).toMatchObject({ side: "preferred", reason: "preferred" });
    expect(fallenBack()).toMatchObject({ side: "fallback", reason: "iroh did not answer in time" });
  });

  it("returns when every probe was answered for long enough, and says so", () => {
    const choice = fallenBack();
    expect(choice.probeAnswered(1_000)).toBe(false);
    choice.probeFailed();
    expect(choice.probeAnswered(2_000)).toBe(false);
    expect(choice.probeAnswered(11_999)).toBe(false);
    expect(choice.probeAnswered(12_000)).toBe(true);
    expect(choice).toMatchObject({ side: "preferred", reason: "healthy again for 10 s" });
  });

  it("returns at once when the fallback failed and the preferred one answered", () => {
    const choice = fallenBack();
    choice.answered("preferred", "grpc: connection refused", 100);
    expect(choice).toMatchObject({ side: "preferred", reason: "grpc: connection refused" });
  });

  it("takes twice as long after each return that did not last, and forgets that after a minute", () => {
    const choice = fallenBack();
    const first = returnOf(choice, 0);
    expect(first).toBe(10_000);
    fallenBack(first + 5_000, choice);
    const second = returnOf(choice, first + 5_000);
    expect(second - first - 5_000).toBe(20_000);
    fallenBack(second + 60_000, choice);
    expect(returnOf(choice, second + 60_000) - second - 60_000).toBe(10_000);
  });
});
