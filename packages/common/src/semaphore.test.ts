import { describe, expect, it } from "@jest/globals";
import { Semaphore } from "./semaphore.ts";
import { Watch } from "./watch.ts";

describe("Semaphore.run", () => {
  it("runs no more than its permits at a time, in order", async () => {
    const semaphore = new Semaphore(2);
    const gate = new Watch(false);
    const started = new Watch<readonly number[]>([]);
    const work = [0, 1, 2, 3].map((index) =>
      semaphore.run(async () => {
        started.update((list) => [...list, index]);
        await gate.until((open) => open);
      }),
    );
    await started.until((list) => list.length >= 2);
    await new Promise((resolve) => setImmediate(resolve));
    expect(started.value).toEqual([0, 1]);
    gate.set(true);
    await Promise.all(work);
    expect(started.value).toEqual([0, 1, 2, 3]);
  });

  it("lets a waiter go that is cancelled, and gives its place to the next", async () => {
    const semaphore = new Semaphore(1);
    const gate = new Watch(false);
    const first = semaphore.run(() => gate.until((open) => open));
    const cancel = new AbortController();
    const second = semaphore.run(async () => {}, cancel.signal);
    const third = semaphore.run(async () => "ran");
    cancel.abort();
    await expect(second).rejects.toMatchObject({ code: "CANCELLED" });
    gate.set(true);
    await first;
    expect(await third).toBe("ran");
  });

  it("gives the permit back when the work fails", async () => {
    const semaphore = new Semaphore(1);
    await expect(semaphore.run(() => Promise.reject(new Error("no")))).rejects.toThrow("no");
    expect(await semaphore.run(async () => "ran")).toBe("ran");
  });
});
