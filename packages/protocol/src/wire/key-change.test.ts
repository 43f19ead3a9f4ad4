import { toUtf8 } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import { keyChangeBytes } from "./key-change.ts";

const [old, next] = ["ab".repeat(32), "cd".repeat(32)];
const change = { nodeId: 2, incarnation: 1, number: 3, endpointId: old, nextEndpointId: next };

describe("keyChangeBytes", () => {
  it("are those that every release signs", () => {
    const rest = `["7f3c",2,1,3,"${old}","${next}"]`;
    expect(toUtf8(keyChangeBytes("offer", "7f3c", change))).toBe(`blixard/key-offer/1 ${rest}`);
    expect(toUtf8(keyChangeBytes("use", "7f3c", change))).toBe(`blixard/key-use/1 ${rest}`);
  });

  it("differ when any part differs", () => {
    const others = [
      {},
      { nodeId: 3 },
      { incarnation: 2 },
      { number: 4 },
      { endpointId: next },
      { nextEndpointId: old },
    ];
    const all = others.map((fields) => toUtf8(keyChangeBytes("offer", "7f3c", { ...change, ...fields })));
    expect(new Set([...all, toUtf8(keyChangeBytes("offer", "7f3d", change))]).size).toBe(others.length + 1);
  });
});
