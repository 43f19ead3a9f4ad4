import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { shrinkFaults, simulateGroup } from "../simulator/index.ts";
import { bankLedger, type PlantedBugs } from "./bank-ledger.ts";

const ticks = 400;
const stackTraceLimit = Error.stackTraceLimit;

beforeAll(() => {
  Error.stackTraceLimit = 0;
});
afterAll(() => {
  Error.stackTraceLimit = stackTraceLimit;
});

/** The first of some seeds that fails. */
async function firstFailure(bugs: PlantedBugs) {
  for (let seed = 1; seed <= 40; seed++) {
    const result = await simulateGroup(bankLedger(bugs), { seed, ticks });
    if (result.violation !== undefined) return result;
  }
  return undefined;
}

describe("the bank ledger under simulation", () => {
  it("keeps its books in ten seeds with faults, and repeats a run exactly", async () => {
    let acknowledged = 0;
    let leaders = 0;
    const hashes: string[] = [];
    for (let seed = 1; seed <= 10; seed++) {
      const result = await simulateGroup(bankLedger(), { seed, ticks });
      expect([seed, result.violation]).toEqual([seed, undefined]);
      acknowledged += result.acknowledgedWrites;
      leaders += result.leaders;
      hashes.push(result.traceHash);
    }
    expect(acknowledged).toBeGreaterThan(100);
    expect(leaders).toBeGreaterThan(20);
    expect((await simulateGroup(bankLedger(), { seed: 3, ticks })).traceHash).toBe(hashes[2]);
  });

  it("is caught when it carries out a repeated transfer again, by a short schedule", async () => {
    const failure = await firstFailure({ repeats: true });
    const violation = failure?.violation;
    expect(violation?.detail).toContain("the journal says");
    if (failure === undefined || violation === undefined) return;
    const { seed, faults } = failure;
    const run = (keepFaults: readonly number[]) =>
      simulateGroup(bankLedger({ repeats: true }), { seed, ticks, keepFaults });
    const kept = await shrinkFaults(run, [...faults.keys()], violation);
    expect(kept.length).toBeLessThan(Math.max(2, faults.length));
    expect((await run(kept)).violation?.property).toBe(violation.property);
  });

  it("is caught when its snapshots lack the journal", async () => {
    expect((await firstFailure({ savesNoJournal: true }))?.violation).toBeDefined();
  });
});
