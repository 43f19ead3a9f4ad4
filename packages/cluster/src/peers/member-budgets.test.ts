import { silentLogger } from "@blixard/common";
import { VirtualClock } from "@blixard/raft/testing";
import { beforeEach, describe, expect, it } from "@jest/globals";
import { applyChange, emptyState, nodeKey } from "../state-machine/state.ts";
import { sampleNode } from "../testing/command-samples.ts";
import { assertMemberBudgets, type BudgetKind, MemberBudgets, memberBudgetDefaults } from "./member-budgets.ts";

const [self, voter, worker, other, witness, stranger] = [1, 2, 3, 4, 5, 9];
const options = {
  ...memberBudgetDefaults,
  ...{ logBytesPerSecond: 100, logBytesBurst: 1_000, logEntryBytesMin: 100 },
  ...{ callsPerSecond: 10, callsBurst: 20, callsInFlightMax: 5, answerBytesPerCall: 1_000 },
  ...{ readsPerSecond: 1, readsBurst: 3, streamsMax: 2, snapshotBytesPerHour: 3_600, snapshotsPerHour: 2 },
};
const nothing = new Uint8Array();

let clock: VirtualClock;
let budgets: MemberBudgets;
let counted: Partial<Record<BudgetKind, number>>;
let slowed: number[];

beforeEach(() => {
  clock = new VirtualClock();
  counted = {};
  slowed = [];
  const state = emptyState();
  for (const [id, role] of [
    [self, "voter"],
    [voter, "voter"],
    [worker, "worker"],
    [other, "worker"],
    [witness, "witness"],
  ] as const) {
    applyChange(state, { table: "nodes", key: nodeKey(id), value: sampleNode(id, { role }) });
  }
  const exceeded = {
    add: (count = 1, labels: Readonly<Record<string, string>> = {}) => {
      const of = labels["of"] as BudgetKind;
      counted[of] = (counted[of] ?? 0) + count;
    },
  };
  const transport = { slow: (id: number) => void slowed.push(id) };
  const deps = { clock, logger: silentLogger, exceeded, nodeId: self, state: () => state, transport };
  budgets = new MemberBudgets(deps, options);
});

/** How often of so many times it passes. */
function passes(times: number, attempt: () => boolean): number {
  let passed = 0;
  for (let count = 0; count < times; count++) if (attempt()) passed++;
  return passed;
}
const proposes = (id: number, bytes: number) => () => {
  try {
    budgets.spendLogBytes(id, bytes);
    return true;
  } catch (error) {
    expect(error).toMatchObject({ code: "OVERLOADED", outcome: "not_applied" });
    return false;
  }
};
const calls = async (id: number | undefined, times: number, answer = nothing) => {
  let passed = 0;
  for (let count = 0; count < times; count++) {
    passed += await budgets
      .call(id, async () => answer)
      .then(
        () => 1,
        () => 0,
      );
  }
  return passed;
};

describe("the bytes of the log that a member may propose", () => {
  it("are bounded for each member, whatever it is, come back with time, and are counted", async () => {
    expect(passes(20, proposes(worker, 200))).toBe(5);
    expect(passes(20, proposes(voter, 200))).toBe(5);
    expect(passes(20, proposes(witness, 1))).toBe(10);
    expect(counted).toEqual({ log_bytes: 40 });
    await clock.advance(2_000);
    expect(passes(20, proposes(worker, 200))).toBe(1);
    expect(passes(50, proposes(self, 200))).toBe(50);
  });
});

describe("the calls of a member", () => {
  it("are bounded in number, and large answers count for more", async () => {
    expect(await calls(worker, 30)).toBe(20);
    expect(await calls(other, 4, new Uint8Array(9_500))).toBe(2);
    expect(counted).toEqual({ calls: 12 });
    await clock.advance(1_000);
    expect(await calls(worker, 30)).toBe(10);
    for (const free of [voter, self, stranger, undefined]) expect(await calls(free, 100)).toBe(100);
  });

  it("are bounded at once, and make room when they end, also with an error", async () => {
    const open: (() => void)[] = [];
    const held = Array.from({ length: 5 }, () =>
      budgets.call(worker, () => new Promise<Uint8Array>((resolve) => open.push(() => resolve(nothing)))),
    );
    await expect(budgets.call(worker, async () => nothing)).rejects.toMatchObject({ code: "OVERLOADED" });
    expect(await calls(other, 1)).toBe(1);
    for (const end of open) end();
    await Promise.all(held);
    const broken = () => budgets.call(worker, () => Promise.reject(new Error("broken")));
    for (let count = 0; count < 6; count++) await expect(broken()).rejects.toThrow("broken");
    expect(await calls(worker, 1)).toBe(1);
  });
});

describe("a member that asks for more", () => {
  it("is read more slowly for each refusal, unless it passes on what people ask for", async () => {
    expect(await calls(worker, 22)).toBe(20);
    expect(passes(4, () => budgets.admitsRead(other))).toBe(3);
    expect(slowed).toEqual([worker, worker, other]);
    passes(20, proposes(voter, 200));
    expect(passes(9, () => budgets.admitsSnapshotBytes(other, 1_000, 1_000))).toBe(3);
    expect(slowed).toHaveLength(3);
    expect(passes(11, proposes(worker, 1))).toBe(10);
    expect(slowed).toHaveLength(4);
  });
});

describe("reads, streams and snapshots", () => {
  it("are bounded for who serves no people, each kind by itself", async () => {
    expect(passes(10, () => budgets.admitsRead(worker))).toBe(3);
    expect(passes(10, () => budgets.admitsRead(witness))).toBe(3);
    expect(passes(10, () => budgets.admitsRead(voter))).toBe(10);
    expect(passes(10, () => budgets.admitsSnapshotBytes(worker, 1_000, 1_500))).toBe(3);
    expect(passes(10, () => budgets.admitsSnapshotBytes(other, 1_000, 4_000))).toBe(8);
    expect(passes(10, () => budgets.admitsSnapshotBytes(voter, 1_000, 1))).toBe(10);
    expect(counted).toEqual({ reads: 14, snapshot_bytes: 9 });
    await clock.advance(3_600_000);
    expect(passes(10, () => budgets.admitsSnapshotBytes(worker, 1_000, 1_500))).toBe(3);
    expect(await calls(worker, 1)).toBe(1);
  });

  it("let a stream go on until it ends, and take the place of one that was refused or is over", async () => {
    const lives = [new AbortController(), new AbortController()];
    const open = (signal: AbortSignal) => budgets.stream(worker, signal, async () => "open");
    const refused = () =>
      budgets.stream(worker, lives[0]?.signal as AbortSignal, () => Promise.reject(new Error("no")));
    for (let count = 0; count < 5; count++) await expect(refused()).rejects.toThrow("no");
    for (const { signal } of lives) expect(await open(signal)).toBe("open");
    await expect(open(new AbortController().signal)).rejects.toMatchObject({ code: "OVERLOADED" });
    lives[1]?.abort();
    expect(await open(new AbortController().signal)).toBe("open");
    await expect(open(new AbortController().signal)).rejects.toMatchObject({ code: "OVERLOADED" });
    expect(counted).toEqual({ streams: 2 });
  });
});

describe("budgets that contradict the limits", () => {
  it("are refused", () => {
    expect(() => assertMemberBudgets({ ...memberBudgetDefaults, logBytesBurst: 1_000 })).toThrow("logBytesBurst");
    expect(() => assertMemberBudgets({ ...memberBudgetDefaults, callsBurst: 1 })).toThrow("callsBurst");
  });
});
