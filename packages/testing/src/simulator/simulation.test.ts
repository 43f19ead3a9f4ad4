import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { ForgedTally, notShown } from "./byzantine/forged-counts.ts";
import { simulateRegisters } from "./register-scenario.ts";
import { simulate } from "./simulation.ts";
import type { SimulationResult } from "./storm-run.ts";

/** What a person needs to see a failure again. */
function replay({ seed, violation }: SimulationResult, subject: "cluster" | "registers"): string {
  if (violation === undefined) return "";
  const command = `npm run simulate -- --subject ${subject} --seed ${seed} --ticks ${ticks}`;
  return `${violation.property}: ${violation.detail}; replay: ${command}`;
}

const ticks = 300;
const stackTraceLimit = Error.stackTraceLimit;

beforeAll(() => {
  // Nodes make errors all the time, to cancel what they wait for; their stacks cost more than all the rest.
  Error.stackTraceLimit = 0;
});
afterAll(() => {
  Error.stackTraceLimit = stackTraceLimit;
});

describe("simulate", () => {
  it("finds nothing wrong in ten seeds with faults", async () => {
    const failures: string[] = [];
    let acknowledged = 0;
    let leaders = 0;
    for (let seed = 1; seed <= 10; seed++) {
      const result = await simulate({ seed, ticks });
      if (result.violation !== undefined) failures.push(replay(result, "cluster"));
      acknowledged += result.acknowledgedWrites;
      leaders += result.leaders;
    }
    expect(failures).toEqual([]);
    // A run in which nothing happens would find nothing either.
    expect(acknowledged).toBeGreaterThan(20);
    expect(leaders).toBeGreaterThan(20);
  });

  it("repeats a run event by event, and runs another seed in another way", async () => {
    const [first, second, other] = [
      await simulate({ seed: 42, ticks }),
      await simulate({ seed: 42, ticks }),
      await simulate({ seed: 43, ticks }),
    ];
    expect({ hash: first?.traceHash, events: first?.events }).toEqual({
      hash: second?.traceHash,
      events: second?.events,
    });
    expect(other?.traceHash).not.toBe(first?.traceHash);
  });

  it("leaves out the faults that are not kept", async () => {
    const { leaders, violation } = await simulate({ seed: 1, ticks, keepFaults: [] });
    expect(violation).toBeUndefined();
    expect(leaders).toBe(1);
  });
});

describe("simulate with members that were taken over", () => {
  it("finds that they change nothing of others, hears them say everything, and repeats a run event by event", async () => {
    const failures: string[] = [];
    const said = new ForgedTally();
    const traces = new Map<number, string>();
    for (let seed = 1; seed <= 4; seed++) {
      const result = await simulate({ seed, ticks, byzantine: true });
      if (result.violation !== undefined) failures.push(`${replay(result, "cluster")} --byzantine`);
      said.addAll(result.forged);
      traces.set(seed, result.traceHash);
    }
    expect(failures).toEqual([]);
    const of = (kind: string) => said.counts.get(kind) ?? { decoded: 0, stopped: 0, alone: 0 };
    expect(of("MsgApp").alone).toBeGreaterThan(10);
    expect(of("forward kv.put").alone).toBeGreaterThan(3);
    expect(of("snapshotAck")).toMatchObject({ stopped: 0 });
    expect((await simulate({ seed: 2, ticks, byzantine: true })).traceHash).toBe(traces.get(2));
  });

  it("fails a whole run in which something was not shown", () => {
    expect(notShown(new Map(), 10)).toEqual([]);
    const missing = notShown(new Map([["MsgApp", { decoded: 5, stopped: 5, alone: 0 }]]), 2_000);
    expect(missing).toContain("MsgApp was never stopped by the rule about roles alone");
    expect(missing).toContain("forward token.create never arrived");
  });
});

describe("simulate with rounds of membership changes", () => {
  it("loses a leader in the middle of each, and nothing that was acknowledged", async () => {
    const result = await simulate({ seed: 2, ticks: 1_000, rounds: true });
    expect(replay(result, "cluster")).toBe("");
    expect(result.rounds.rounds).toBeGreaterThan(3);
    expect(result.rounds.killed).toBeGreaterThan(1);
  });
});

describe("simulateRegisters", () => {
  it("finds nothing wrong in twenty seeds of groups of one voter or more, and repeats a run event by event", async () => {
    const failures: string[] = [];
    let reads = 0;
    const groups = new Map<number, string>();
    for (let seed = 1; seed <= 20; seed++) {
      const result = await simulateRegisters({ seed, ticks });
      if (result.violation !== undefined) failures.push(replay(result, "registers"));
      reads += result.operations - result.acknowledgedWrites;
      groups.set(seed, result.traceHash);
    }
    expect(failures).toEqual([]);
    expect(reads).toBeGreaterThan(1_000);
    expect((await simulateRegisters({ seed: 7, ticks })).traceHash).toBe(groups.get(7));
  });
});
