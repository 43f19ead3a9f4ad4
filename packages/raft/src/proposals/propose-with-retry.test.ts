import { BlixardError, type ErrorCode, type ErrorOutcome, fromUtf8 } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import { asLogIndex, asTerm } from "../core/types.ts";
import type { Applied } from "../raft-node-types.ts";
import { VirtualClock } from "../testing/index.ts";
import { proposeWithRetry } from "./propose-with-retry.ts";

const data = fromUtf8("command");
const applied: Applied<string> = { index: asLogIndex(7), term: asTerm(1), result: "done" };
const refused = (code: ErrorCode) => new BlixardError(code, code, { outcome: "not_applied" });
const unknown = (code: ErrorCode) => new BlixardError(code, code, { outcome: "unknown" });

/** A node that ends its proposals in this order, the last one for ever. */
function nodeThat(...ends: readonly (BlixardError | Applied<string>)[]) {
  const node = {
    attempts: 0,
    async propose(proposed: Uint8Array): Promise<Applied<string>> {
      expect(proposed).toBe(data);
      const end = ends[Math.min(node.attempts++, ends.length - 1)] as BlixardError | Applied<string>;
      if (end instanceof Error) throw end;
      return end;
    },
  };
  return node;
}

/** Lets `work` run to its end, with all the time that it asks for. */
async function ended<T>(clock: VirtualClock, work: Promise<T>): Promise<T> {
  work.catch(() => {});
  for (let step = 0; step < 60; step++) await clock.advance(1_000);
  return work;
}

describe("proposeWithRetry", () => {
  it("sends any command again that is certain to be in no log", async () => {
    const clock = new VirtualClock();
    const node = nodeThat(refused("NOT_LEADER"), refused("PROPOSAL_DROPPED"), refused("OVERLOADED"), applied);
    expect(await ended(clock, proposeWithRetry(node, data, { clock, idempotent: false }))).toBe(applied);
    expect(node.attempts).toBe(4);
  });

  it("sends a command whose outcome is unknown again only when it is idempotent", async () => {
    const clock = new VirtualClock();
    const once = nodeThat(unknown("OUTCOME_UNKNOWN"), applied);
    await expect(ended(clock, proposeWithRetry(once, data, { clock, idempotent: false }))).rejects.toMatchObject({
      code: "OUTCOME_UNKNOWN",
    });
    expect(once.attempts).toBe(1);
    const again = nodeThat(unknown("OUTCOME_UNKNOWN"), applied);
    expect(await ended(clock, proposeWithRetry(again, data, { clock, idempotent: true }))).toBe(applied);
  });

  it.each<[ErrorCode, ErrorOutcome]>([
    ["STOPPED", "not_applied"],
    ["STORAGE_FAILED", "unknown"],
    ["INVALID_ARGUMENT", "not_applied"],
  ])("does not try again after %s", async (code, outcome) => {
    const clock = new VirtualClock();
    const node = nodeThat(new BlixardError(code, code, { outcome }), applied);
    const proposed = proposeWithRetry(node, data, { clock, idempotent: true });
    await expect(ended(clock, proposed)).rejects.toMatchObject({ code, outcome });
    expect(node.attempts).toBe(1);
  });

  it("stays unknown when a refusal follows an unknown outcome", async () => {
    const clock = new VirtualClock();
    const node = nodeThat(unknown("OUTCOME_UNKNOWN"), refused("NOT_LEADER"));
    const proposed = proposeWithRetry(node, data, { clock, idempotent: true, attemptsMax: 3 });
    await expect(ended(clock, proposed)).rejects.toMatchObject({
      ...{ code: "OUTCOME_UNKNOWN", outcome: "unknown" },
      cause: { code: "NOT_LEADER" },
    });
    expect(node.attempts).toBe(3);
  });

  it("ends with the caller's signal, and says then what is unknown", async () => {
    for (const [first, code] of [
      [refused("NOT_LEADER"), "CANCELLED"],
      [unknown("OUTCOME_UNKNOWN"), "OUTCOME_UNKNOWN"],
    ] as const) {
      const clock = new VirtualClock();
      const caller = new AbortController();
      const node = nodeThat(first);
      const proposed = proposeWithRetry(node, data, { clock, idempotent: true, signal: caller.signal });
      await clock.advance(10);
      caller.abort();
      await expect(ended(clock, proposed)).rejects.toMatchObject({ code });
      expect(node.attempts).toBe(1);
    }
  });

  it("doubles its pauses up to a limit", async () => {
    const clock = new VirtualClock();
    const node = nodeThat(refused("NOT_LEADER"));
    const proposed = proposeWithRetry(node, data, { clock, idempotent: false, attemptsMax: 8, delayMs: 10 });
    proposed.catch(() => {});
    const startedAtMs: number[] = [];
    for (let nowMs = 0; nowMs <= 1_000; nowMs += 10) {
      while (startedAtMs.length < node.attempts) startedAtMs.push(nowMs);
      await clock.advance(10);
    }
    expect(startedAtMs).toEqual([0, 10, 30, 70, 150, 310, 510, 710]);
    await expect(proposed).rejects.toMatchObject({ code: "NOT_LEADER" });
  });
});
