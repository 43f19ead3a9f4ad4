/** The longest time that the event loop was not available, sampled each millisecond. */
import { monitorEventLoopDelay, performance } from "node:perf_hooks";

export interface Stall {
  /** By a timer of our own: the largest gap between two samples beyond the interval. */
  readonly driftMs: number;
  /** By `monitorEventLoopDelay`. */
  readonly histogramMs: number;
}

const intervalMs = 1;

/** Runs `work` and tells the longest stall meanwhile. */
export async function longestStall(work: () => Promise<unknown>): Promise<Stall> {
  const histogram = monitorEventLoopDelay({ resolution: intervalMs });
  let previousMs = performance.now();
  let driftMs = 0;
  const sample = () => {
    const nowMs = performance.now();
    driftMs = Math.max(driftMs, nowMs - previousMs - intervalMs);
    previousMs = nowMs;
  };
  const timer = setInterval(sample, intervalMs);
  histogram.enable();
  try {
    await work();
  } finally {
    histogram.disable();
    sample();
    clearInterval(timer);
  }
  return { driftMs, histogramMs: histogram.max / 1e6 - intervalMs };
}
