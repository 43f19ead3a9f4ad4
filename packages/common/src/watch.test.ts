import { describe, expect, it } from "@jest/globals";
import { Watch } from "./watch.ts";

describe("Watch.until", () => {
  it("resolves at once when the present value holds", async () => {
    expect(await new Watch(3).until((value) => value > 2)).toBe(3);
  });

  it("resolves with a later value, and only with one that holds", async () => {
    const watch = new Watch(0);
    const seen = watch.until((value) => value >= 2);
    watch.set(1);
    watch.set(2);
    expect(await seen).toBe(2);
  });

  it("rejects when its signal aborts, and leaves no waiter behind", async () => {
    const controller = new AbortController();
    const waiting = new Watch(0).until((value) => value > 0, { signal: controller.signal });
    controller.abort();
    await expect(waiting).rejects.toMatchObject({ code: "CANCELLED" });
  });
});

describe("Watch.until with a limit", () => {
  it("ends with the value of the moment when the time is over, and not before", async () => {
    const timers: (() => void)[] = [];
    let cancelled = 0;
    const setTimer = (_: number, run: () => void) => {
      timers.push(run);
      return { cancel: () => cancelled++ };
    };
    const none = () => 0;
    const clock = { monotonicMs: none, elapsedMs: none, runnableMs: none, unixMs: none, setTimer };
    const watch = new Watch(0);
    const waiting = watch.until((value) => value > 1, { limit: { clock, delayMs: 5 } });
    watch.set(1);
    timers[0]?.();
    expect(await waiting).toBe(1);
    const held = watch.until((value) => value > 1, { limit: { clock, delayMs: 5 } });
    watch.set(2);
    expect(await held).toBe(2);
    expect(cancelled).toBe(2);
  });
});

describe("Watch.until with what throws", () => {
  it("rejects with what `holds` throws for a later value", async () => {
    const watch = new Watch(0);
    const waiting = watch.until((value) => {
      if (value === 1) throw new RangeError("one");
      return false;
    });
    watch.set(1);
    await expect(waiting).rejects.toThrow("one");
  });
});

describe("Watch.values", () => {
  it("gives the present value first and never misses the last one", async () => {
    const watch = new Watch(1);
    const seen: number[] = [];
    const reading = (async () => {
      for await (const value of watch.values()) {
        seen.push(value);
        if (value === 9) return;
      }
    })();
    for (let value = 2; value <= 9; value++) watch.set(value);
    await reading;
    expect(seen[0]).toBe(1);
    expect(seen.at(-1)).toBe(9);
  });

  it("misses no value that is set while the reader works on the one before", async () => {
    const watch = new Watch("a");
    const reader = watch.values()[Symbol.asyncIterator]();
    expect((await reader.next()).value).toBe("a");
    watch.set("b");
    expect((await reader.next()).value).toBe("b");
  });
});
