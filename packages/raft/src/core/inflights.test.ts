import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { Inflights } from "./inflights.ts";
import { asLogIndex } from "./types.ts";

describe("Inflights", () => {
  it("is full at the limit of messages", () => {
    const inflights = new Inflights(2, Number.POSITIVE_INFINITY);
    inflights.add(asLogIndex(1), 10);
    expect(inflights.full).toBe(false);
    inflights.add(asLogIndex(2), 10);
    expect(inflights.full).toBe(true);
    expect(() => inflights.add(asLogIndex(3), 10)).toThrow("full window");
  });

  it("lets one message exceed the limit of bytes", () => {
    const inflights = new Inflights(10, 100);
    inflights.add(asLogIndex(1), 99);
    expect(inflights.full).toBe(false);
    inflights.add(asLogIndex(2), 500);
    expect(inflights.full).toBe(true);
    inflights.freeTo(asLogIndex(1));
    expect(inflights.full).toBe(true);
    inflights.freeTo(asLogIndex(2));
    expect(inflights).toMatchObject({ full: false, count: 0 });
  });

  it("behaves like a plain list, also when the ring wraps and grows", () => {
    const step = fc.oneof(
      fc.record({ add: fc.integer({ min: 1, max: 50 }) }),
      fc.record({ freeBy: fc.integer({ min: 0, max: 6 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const inflights = new Inflights(20, 300);
        let list: { index: number; bytes: number }[] = [];
        let next = 1;
        for (const action of steps) {
          if ("add" in action) {
            if (inflights.full) continue;
            inflights.add(asLogIndex(next), action.add);
            list.push({ index: next++, bytes: action.add });
          } else {
            const to = (list[0]?.index ?? next) - 1 + action.freeBy;
            inflights.freeTo(asLogIndex(to));
            list = list.filter(({ index }) => index > to);
          }
          const bytes = list.reduce((sum, message) => sum + message.bytes, 0);
          expect(inflights.count).toBe(list.length);
          expect(inflights.full).toBe(list.length >= 20 || bytes >= 300);
        }
      }),
    );
  });
});
