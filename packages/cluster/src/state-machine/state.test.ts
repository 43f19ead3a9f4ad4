import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { applyChange, emptyState, sortedRecords } from "./state.ts";
import type { Tables } from "./types.ts";

const record = (value: string) => ({ value }) as unknown as Tables["kv"];

describe("sortedRecords", () => {
  it("gives the records in the order of their keys, after whatever was stored, deleted or written past it", () => {
    const key = fc.string({ minLength: 1, maxLength: 2, unit: fc.constantFrom("a", "b", "-", "z") });
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.tuple(fc.constant("put" as const), key) },
      { weight: 2, arbitrary: fc.tuple(fc.constant("delete" as const), key) },
      { weight: 1, arbitrary: fc.tuple(fc.constant("past" as const), key) },
      { weight: 3, arbitrary: fc.tuple(fc.constant("look" as const), key) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const state = emptyState();
        for (const [at, [what, name]] of [...steps, ["look", ""] as const].entries()) {
          const value = record(`${name} ${at}`);
          if (what === "put") applyChange(state, { table: "kv", key: name, value });
          else if (what === "delete") applyChange(state, { table: "kv", key: name, value: undefined });
          else if (what === "past" && !state.kv.delete(name)) state.kv.set(name, value);
          else if (what === "look") {
            const expected = [...state.kv].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, each]) => each);
            expect(sortedRecords(state, "kv")).toEqual(expected);
          }
        }
      }),
      {
        numRuns: 500,
        examples: [
          [
            [
              ["look", "a"],
              ["past", "b"],
              ["put", "a"],
              ["past", "a"],
              ["put", "a"],
            ],
          ],
        ],
      },
    );
  });
});
