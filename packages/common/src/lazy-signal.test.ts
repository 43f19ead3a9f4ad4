import { EventEmitter, once } from "node:events";
import { describe, expect, it } from "@jest/globals";
import { LazySignal, linkSignal, offAbort, onAbort } from "./index.ts";

describe("LazySignal", () => {
  it("calls each listener once, in their order, but not those that were taken back", () => {
    const signal = new LazySignal();
    const called: string[] = [];
    const gone = () => called.push("gone");
    onAbort(signal, () => {
      called.push("first");
      offAbort(signal, gone);
    });
    onAbort(signal, gone);
    onAbort(signal, () => called.push("last"));
    signal.abort("why");
    signal.abort("again");
    expect(called).toEqual(["first", "last"]);
    expect([signal.aborted, signal.reason]).toEqual([true, "why"]);
    expect(() => signal.throwIfAborted()).toThrow("why");
  });

  it("throws the fault of one listener where the process sees it, and calls the others", () => {
    const signal = new LazySignal();
    const tasks: (() => void)[] = [];
    const { queueMicrotask } = globalThis;
    globalThis.queueMicrotask = (task) => void tasks.push(task);
    try {
      let called = false;
      onAbort(signal, () => {
        throw new Error("a fault");
      });
      onAbort(signal, () => {
        called = true;
      });
      signal.abort(new Error("why"));
      expect(called).toBe(true);
      expect(tasks).toHaveLength(1);
      expect(tasks[0]).toThrow("a fault");
    } finally {
      globalThis.queueMicrotask = queueMicrotask;
    }
  });

  it("is an AbortSignal for what listens by itself, before and after it aborts", async () => {
    const { signal, abort } = linkSignal(undefined);
    const waiting = once(new EventEmitter(), "never", { signal });
    const events: string[] = [];
    const listener = () => events.push("event");
    signal.addEventListener("abort", listener);
    signal.onabort = () => events.push("onabort");
    const removed = () => events.push("removed");
    signal.addEventListener("abort", removed);
    signal.removeEventListener("abort", removed);
    abort(new Error("why"));
    expect(events.sort()).toEqual(["event", "onabort"]);
    await expect(waiting).rejects.toMatchObject({ cause: { message: "why" } });
    await expect(once(new EventEmitter(), "never", { signal })).rejects.toMatchObject({ code: "ABORT_ERR" });
  });

  it("follows and is followed", () => {
    const outer = new AbortController();
    const first = linkSignal(outer.signal);
    const second = linkSignal(first.signal);
    const released = linkSignal(first.signal);
    released.release();
    outer.abort("the outer");
    expect([first, second, released].map(({ signal }) => signal.reason)).toEqual(["the outer", "the outer", undefined]);
  });
});
