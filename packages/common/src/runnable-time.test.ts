import { describe, expect, it } from "@jest/globals";
import { RunnableTime, setRunnableTimer } from "./runnable-time.ts";

/** A clock that is moved by hand, and runs what is due only when it is told to. */
function clockByHand() {
  let nowMs = 1_000;
  let due: { readonly atMs: number; readonly run: () => void }[] = [];
  return {
    monotonicMs: () => nowMs,
    setTimer: (delayMs: number, run: () => void) => {
      const timer = { atMs: nowMs + delayMs, run };
      due.push(timer);
      const cancel = () => {
        due = due.filter((other) => other !== timer);
      };
      return { cancel };
    },
    setTicker: (intervalMs: number, run: () => void) => {
      const ticker = { atMs: 0, run: () => {} };
      const arm = () => {
        ticker.atMs = nowMs + intervalMs;
        due = [...due.filter((other) => other !== ticker), ticker];
      };
      ticker.run = () => {
        arm();
        run();
      };
      arm();
      return arm;
    },
    standStill: (ms: number) => {
      nowMs += ms;
    },
    run: (ms: number) => {
      for (let leftMs = ms; leftMs > 0; leftMs -= 10) {
        nowMs += 10;
        const ready = due.filter(({ atMs }) => atMs <= nowMs);
        due = due.filter(({ atMs }) => atMs > nowMs);
        for (const { run } of ready) run();
      }
    },
  };
}

describe("RunnableTime", () => {
  it("counts all of the time of a process that runs", () => {
    const clock = clockByHand();
    const time = new RunnableTime(clock);
    clock.run(20_000);
    expect(time.nowMs()).toBe(20_000);
  });

  it("counts any time of standing still as one tick, whoever asks first afterwards", () => {
    const clock = clockByHand();
    const time = new RunnableTime(clock);
    clock.run(1_000);
    clock.standStill(22_000);
    expect(time.nowMs()).toBe(1_150);
    clock.run(1_000);
    expect(time.nowMs()).toBeLessThanOrEqual(2_150);
    expect(time.nowMs()).toBeGreaterThanOrEqual(2_000);
  });

  it("needs no tick of its own while other timers run", () => {
    const clock = clockByHand();
    let ticks = 0;
    const setTicker = (intervalMs: number, run: () => void) =>
      clock.setTicker(intervalMs, () => {
        ticks++;
        run();
      });
    const time = new RunnableTime({ ...clock, setTicker });
    const others = () => {
      time.ran();
      if (clock.monotonicMs() < 6_000) clock.setTimer(90, others);
    };
    clock.setTimer(90, others);
    clock.run(5_000);
    expect([ticks, time.nowMs()]).toEqual([0, 5_000]);
    clock.standStill(22_000);
    clock.run(10);
    expect(time.nowMs()).toBeLessThanOrEqual(5_160);
    const before = time.nowMs();
    clock.run(2_000);
    expect(ticks).toBeGreaterThanOrEqual(19);
    expect(time.nowMs() - before).toBe(2_000);
  });

  it("counts a starved loop by its ticks", () => {
    const clock = clockByHand();
    const time = new RunnableTime(clock);
    for (let turn = 0; turn < 20; turn++) {
      clock.standStill(990);
      clock.run(10);
    }
    expect(time.nowMs()).toBe(3_000);
  });
});

describe("setRunnableTimer", () => {
  const started = () => {
    const byHand = clockByHand();
    const time = new RunnableTime(byHand);
    const clock = {
      ...byHand,
      elapsedMs: byHand.monotonicMs,
      unixMs: byHand.monotonicMs,
      runnableMs: () => time.nowMs(),
    };
    let runs = 0;
    const timer = setRunnableTimer(clock, 2_000, () => runs++);
    return { clock, timer, runs: () => runs };
  };

  it("runs once after its time in a process that runs", () => {
    const { clock, runs } = started();
    clock.run(1_990);
    expect(runs()).toBe(0);
    clock.run(4_000);
    expect(runs()).toBe(1);
  });

  it("waits on after a time of standing still, and is cancelled then too", () => {
    const { clock, runs } = started();
    clock.run(500);
    clock.standStill(22_000);
    clock.run(1_000);
    expect(runs()).toBe(0);
    clock.run(1_000);
    expect(runs()).toBe(1);

    const other = started();
    other.clock.standStill(22_000);
    other.clock.run(1_000);
    other.timer.cancel();
    other.clock.run(4_000);
    expect(other.runs()).toBe(0);
  });
});
