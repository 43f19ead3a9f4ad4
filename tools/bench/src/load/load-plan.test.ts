import { describe, expect, it } from "@jest/globals";
import {
  countLost,
  expectedMarks,
  fillWrites,
  isWrite,
  keyOf,
  type LoadPlan,
  markOfValue,
  valueTextOf,
} from "./load-plan.ts";

const plan: LoadPlan = {
  ...{ kind: "put", round: "r1", clients: 2, valueBytes: 100 },
  ...{ keysPerClient: 3, uniqueKeys: false },
};

describe("isWrite", () => {
  it("makes one operation of ten in a mix a write", () => {
    const writes = Array.from({ length: 40 }, (_, at) => isWrite("mix", at)).filter(Boolean);
    expect(writes).toHaveLength(4);
    expect([isWrite("put", 0), isWrite("get", 9)]).toEqual([true, false]);
  });
});

describe("keyOf", () => {
  it("goes round the keys of a client, or never comes back", () => {
    expect([0, 1, 2, 3].map((write) => keyOf(plan, 1, write))).toEqual([
      "bench/1/0",
      "bench/1/1",
      "bench/1/2",
      "bench/1/0",
    ]);
    const unique = { ...plan, uniqueKeys: true };
    expect(new Set([0, 1, 2, 3].map((write) => keyOf(unique, 1, write))).size).toBe(4);
    expect(keyOf({ ...unique, round: "r2" }, 1, 0)).not.toBe(keyOf(unique, 1, 0));
  });
});

describe("valueTextOf", () => {
  it("has its length to the byte and tells its write", () => {
    for (const valueBytes of [40, 100, 1024]) {
      const value = valueTextOf({ ...plan, valueBytes }, 255, 1_000_000);
      expect(Buffer.byteLength(value)).toBe(valueBytes);
      expect(markOfValue(value)).toBe("r1.255.1000000");
    }
  });
});

describe("expectedMarks", () => {
  it("takes the last write to each key", () => {
    const expected = expectedMarks([{ plan, writesByClient: [4, 0], uncertainClients: [] }]);
    expect(Object.fromEntries(expected)).toEqual({
      "bench/0/0": ["r1.0.3"],
      "bench/0/1": ["r1.0.1"],
      "bench/0/2": ["r1.0.2"],
    });
  });

  it("lets a later round overwrite an earlier one, and keeps every unique key", () => {
    const second = { plan: { ...plan, round: "r2" }, writesByClient: [1], uncertainClients: [] };
    const first = { plan, writesByClient: [2], uncertainClients: [] };
    expect(expectedMarks([first, second]).get("bench/0/0")).toEqual(["r2.0.0"]);
    expect(expectedMarks([first, second]).get("bench/0/1")).toEqual(["r1.0.1"]);
    const unique = { plan: { ...plan, uniqueKeys: true }, writesByClient: [5, 7], uncertainClients: [] };
    expect(expectedMarks([unique]).size).toBe(12);
  });

  it("allows both values where a write failed, and nothing where the key was never there", () => {
    const expected = expectedMarks([{ plan, writesByClient: [3, 1], uncertainClients: [0, 1] }]);
    expect(expected.get("bench/0/0")).toEqual(["r1.0.0", "r1.0.3"]);
    expect(expected.has("bench/1/1")).toBe(false);
  });
});

describe("countLost", () => {
  it("sees a key that is missing and one that went back", () => {
    const expected = expectedMarks([{ plan, writesByClient: [4], uncertainClients: [] }]);
    const held = new Map([0, 1, 2].map((write) => [keyOf(plan, 0, write), valueTextOf(plan, 0, write)]));
    expect(countLost(expected, held)).toBe(1);
    held.set("bench/0/0", valueTextOf(plan, 0, 3));
    expect(countLost(expected, held)).toBe(0);
    held.delete("bench/0/2");
    expect(countLost(expected, held)).toBe(1);
  });
});

describe("fillWrites", () => {
  it("writes what is read later", () => {
    expect([fillWrites(plan), fillWrites({ ...plan, kind: "get" })]).toEqual([0, 3]);
  });
});
