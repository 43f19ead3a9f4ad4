import { describe, expect, it } from "@jest/globals";
import { BoundedQueue } from "./bounded-queue.ts";
import { bytesEqual, concatBytes, fromHex, toHex } from "./bytes.ts";
import { BlixardError, changedError, errorCodeOf, notApplied, systemErrorCodeOf } from "./errors.ts";
import { seededRandom } from "./random.ts";
import { SerialQueue } from "./serial-queue.ts";
import { toBlixardError } from "./system-errors.ts";

describe("BoundedQueue", () => {
  it("refuses beyond its limit and keeps the order over many turns", () => {
    const queue = new BoundedQueue<number>(3);
    expect([1, 2, 3, 4].map((item) => queue.push(item))).toEqual([true, true, true, false]);
    expect(queue.shift()).toBe(1);
    let expected = 2;
    queue.push(4);
    for (let item = 5; item < 5_000; item++) {
      expect(queue.shift()).toBe(expected++);
      queue.push(item);
    }
    expect(queue.length).toBe(3);
  });
});

describe("SerialQueue", () => {
  it("runs one piece at a time, in order, over a failure", async () => {
    const queue = new SerialQueue();
    const order: string[] = [];
    const first = queue.run(async () => {
      await Promise.resolve();
      order.push("first");
      throw new Error("refused");
    });
    const second = queue.run(async () => void order.push("second"));
    await expect(first).rejects.toThrow("refused");
    await second;
    await queue.idle();
    expect(order).toEqual(["first", "second"]);
    expect(queue.pending).toBe(0);
  });
});

describe("seededRandom", () => {
  it("repeats for a seed and differs between seeds", () => {
    const draw = (seed: number) => {
      const random = seededRandom(seed);
      return Array.from({ length: 5 }, () => random.next());
    };
    expect(draw(42)).toEqual(draw(42));
    expect(draw(42)).not.toEqual(draw(43));
    expect(draw(2 ** 40)).not.toEqual(draw(0));
  });

  it("is about uniform", () => {
    const random = seededRandom(1);
    const counts = new Array(10).fill(0);
    for (let n = 0; n < 10_000; n++) counts[Math.floor(random.next() * 10)]++;
    for (const count of counts) expect(count).toBeGreaterThan(850);
  });
});

describe("bytes", () => {
  it("turns bytes into text and back, and refuses what is no text of bytes", () => {
    const bytes = Uint8Array.of(0, 255, 16);
    expect(fromHex(toHex(bytes))).toEqual(bytes);
    expect(fromHex("abc")).toBeUndefined();
    expect(fromHex("zz")).toBeUndefined();
    expect(bytesEqual(concatBytes([bytes, bytes]), Uint8Array.of(0, 255, 16, 0, 255, 16))).toBe(true);
    expect(bytesEqual(bytes, Uint8Array.of(0, 255, 17))).toBe(false);
  });
});

describe("BlixardError", () => {
  it("wraps a foreign error once and passes its own kind on", () => {
    const wrapped = toBlixardError(new Error("disk gone"), "STORAGE_FAILED", "append");
    expect(wrapped.message).toBe("append: disk gone");
    expect(toBlixardError(wrapped, "INTERNAL", "outer")).toBe(wrapped);
    const exhausted = Object.assign(new Error("EMFILE: too many open files, open '/data/x'"), { code: "EMFILE" });
    expect(toBlixardError(exhausted, "INTERNAL", "vm.create")).toMatchObject({
      code: "OVERLOADED",
      message: "vm.create: this process has too many files open",
      outcome: "unknown",
    });
    expect(errorCodeOf(new BlixardError("CONFLICT", "y"))).toBe("CONFLICT");
    expect(errorCodeOf("text")).toBeUndefined();
  });

  it("keeps codes of the set apart from those of the system", () => {
    const missing = Object.assign(new Error("no such file"), { code: "ENOENT" });
    expect(errorCodeOf(missing)).toBeUndefined();
    expect(systemErrorCodeOf(missing)).toBe("ENOENT");
    expect(errorCodeOf({ name: "BlixardError", code: "OF_ANOTHER_RELEASE" })).toBeUndefined();
    // @ts-expect-error a code that is not in the set does not compile
    new BlixardError("NOT_FUOND", "a typo");
  });

  it("changes parts of an error and keeps the rest", () => {
    const first = notApplied("CONFLICT", "taken", { hint: "Choose another name." });
    const changed = changedError(first, { outcome: "unknown" });
    expect(changed).toMatchObject({ code: "CONFLICT", hint: "Choose another name.", outcome: "unknown", cause: first });
  });
});
