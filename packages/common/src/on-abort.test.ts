import { getEventListeners } from "node:events";
import { describe, expect, it } from "@jest/globals";
import { linkSignal, offAbort, onAbort, Semaphore, sleep, Watch, withDeadline, withTimeLimit } from "./index.ts";
import { systemClock } from "./system.ts";

const listeners = (signal: AbortSignal) => getEventListeners(signal, "abort").length;

describe("onAbort", () => {
  it("calls each listener once, in their order, but not those that were taken back", () => {
    const controller = new AbortController();
    const called: string[] = [];
    const gone = () => called.push("gone");
    onAbort(controller.signal, () => {
      called.push("first");
      offAbort(controller.signal, gone);
    });
    onAbort(controller.signal, gone);
    onAbort(controller.signal, () => called.push("last"));
    controller.abort();
    controller.abort();
    expect(called).toEqual(["first", "last"]);
  });

  it("leaves nothing on the signal when the last listener is taken back", () => {
    const { signal } = new AbortController();
    const [one, two] = [() => {}, () => {}];
    onAbort(signal, one);
    onAbort(signal, two);
    expect(listeners(signal)).toBe(1);
    offAbort(signal, one);
    expect(listeners(signal)).toBe(1);
    offAbort(signal, two);
    offAbort(signal, two);
    expect(listeners(signal)).toBe(0);
    onAbort(signal, one);
    expect(listeners(signal)).toBe(1);
  });

  it("keeps the waits of a node on one signal from looking like a leak, and ends all of them", async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const limit = { clock: systemClock, timeoutMs: 60_000, what: "this", signal };
    const never = (inner: AbortSignal) => new Watch(0).until((value) => value > 0, { signal: inner });
    const semaphore = new Semaphore(1);
    const holder = semaphore.run(() => never(signal));
    const waits = Array.from({ length: 4 }, () => [
      sleep(systemClock, 60_000, signal),
      new Watch(0).until((value) => value > 0, { signal }),
      withDeadline(limit, never),
      withTimeLimit(systemClock, 60_000, signal, never),
      semaphore.run(() => Promise.resolve(), signal),
    ]).flat();
    const links = Array.from({ length: 20 }, () => linkSignal(signal));
    // Node.js warns when a signal gets its eleventh.
    expect(listeners(signal)).toBe(1);
    controller.abort();
    const ends = await Promise.allSettled([holder, ...waits]);
    expect(ends.every(({ status }) => status === "rejected")).toBe(true);
    expect(links.every((link) => link.signal.aborted)).toBe(true);
  });

  it("lets one signal follow several until it is released", () => {
    const [first, second] = [new AbortController(), new AbortController()];
    const outers = [first.signal, undefined, second.signal] as const;
    const [link, released] = [linkSignal(...outers), linkSignal(...outers)];
    released.release();
    second.abort("the second");
    expect(link.signal.reason).toBe("the second");
    expect(released.signal.aborted).toBe(false);
    first.abort("the first");
    expect(link.signal.reason).toBe("the second");
    expect(linkSignal(new AbortController().signal, second.signal).signal.reason).toBe("the second");
    const [waiting, still] = [new AbortController(), new AbortController()];
    linkSignal(waiting.signal, still.signal).release();
    expect([listeners(waiting.signal), listeners(still.signal)]).toEqual([0, 0]);
  });
});
