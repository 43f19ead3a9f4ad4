import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { WatchedMap } from "./watched-map.ts";

describe("WatchedMap", () => {
  it("brings a reader who follows it by what changed to all that is in it", () => {
    const key = fc.constantFrom("a", "b", "c", "d");
    const step = fc.oneof(
      fc.record({ type: fc.constant("set" as const), key, value: fc.nat(9) }),
      fc.record({ type: fc.constant("delete" as const), key }),
      fc.record({ type: fc.constant("replace" as const), keys: fc.uniqueArray(key) }),
      fc.record({ type: fc.constant("look" as const) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const map = new WatchedMap<number>();
        const seen = new Map<string, number>();
        let version = map.version.value;
        for (const each of [...steps, { type: "look" } as const]) {
          if (each.type === "set") map.set(each.key, each.value);
          else if (each.type === "delete") map.delete(each.key);
          else if (each.type === "replace") map.replace(new Map(each.keys.map((name) => [name, 100])));
          else {
            for (const name of map.changedSince(version) ?? []) {
              const value = map.get(name);
              if (value === undefined) seen.delete(name);
              else seen.set(name, value);
            }
            version = map.version.value;
            expect(new Map([...seen].sort())).toEqual(new Map([...map.value].sort()));
          }
        }
      }),
    );
  });

  it("keeps what somebody has read as it was, and wakes who waits", async () => {
    const map = new WatchedMap<number>();
    const before = map.value;
    const waits = map.until((value) => value.get("a") === 2);
    map.set("a", 1);
    map.set("a", 2);
    expect((await waits).get("a")).toBe(2);
    expect(before.size).toBe(0);
    expect(map.value).toBe(map.value);
  });
});
