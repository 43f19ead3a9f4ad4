import { describe, expect, it } from "@jest/globals";
import type { Clock } from "./clock.ts";
import { sleep, withDeadline } from "./waiting.ts";

/** A clock that a test turns by hand. */
function manualClock(): Clock & { turn(ms: number): void; pending(): number } {
  let now = 0;
  let timers: { at: number; run: () => void }[] = [];
  return {
    monotonicMs: () => now,
    elapsedMs: () => now,
    runnableMs: () => now,
    unixMs: () => now,
    setTimer(delayMs, run) {
      const timer = { at: now + delayMs, run };
      timers.push(timer);
      const cancel = () => {
        timers = timers.filter((other) => other !== timer);
      };
      return { cancel };
    },
    turn(ms) {
      now += ms;
      const due = timers.filter(({ at }) => at <= now);
      timers = timers.filter(({ at }) => at > now);
      for (const { run } of due) run();
    },
    pending: () => timers.length,
  };
}

describe("withDeadline", () => {
  it("gives the result and forgets its timer", async () => {
    const clock = manualClock();
    expect(await withDeadline({ clock, timeoutMs: 5, what: "it" }, async () => 7)).toBe(7);
    expect(clock.pending()).toBe(0);
  });

  it("rejects when the time is over, although the work hears nothing", async () => {
    const clock = manualClock();
    const result = withDeadline({ clock, timeoutMs: 5, what: "the work" }, () => new Promise(() => {}));
    clock.turn(5);
    await expect(result).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED", outcome: "unknown" });
  });

  it("passes the caller's abort on to the work", async () => {
    const controller = new AbortController();
    let heard: AbortSignal | undefined;
    const result = withDeadline(
      { clock: manualClock(), timeoutMs: 5, what: "it", signal: controller.signal },
      (signal) => {
        heard = signal;
        return new Promise(() => {});
      },
    );
    controller.abort();
    await expect(result).rejects.toMatchObject({ code: "CANCELLED" });
    expect(heard?.aborted).toBe(true);
  });
});

describe("sleep", () => {
  it("ends with the clock, or at once with the signal", async () => {
    const clock = manualClock();
    const slept = sleep(clock, 10);
    clock.turn(10);
    await slept;
    const controller = new AbortController();
    const interrupted = sleep(clock, 10, controller.signal);
    controller.abort();
    await expect(interrupted).rejects.toMatchObject({ code: "CANCELLED" });
    expect(clock.pending()).toBe(0);
  });
});
