/** Waiting that ends when the state moves, when time is over, or when the owner stops; it leaves nothing behind. */
import { BlixardError, type Clock, linkSignal, sleep } from "@blixard/common";
import type { ClusterStateMachine, StateVersion } from "./cluster-state-machine.ts";

/** Waits for the first of several promises that all end when their signal aborts. Rejects when that one does. */
export async function firstOf(
  outer: AbortSignal,
  start: (signal: AbortSignal) => readonly Promise<unknown>[],
): Promise<void> {
  const link = linkSignal(outer);
  const waiting = start(link.signal);
  try {
    await Promise.race(waiting);
  } finally {
    link.abort();
    await Promise.allSettled(waiting);
    link.release();
  }
}

/** Index at which nodes or VMs changed last: what duties look at. */
export function dutyIndex(version: StateVersion): number {
  return Math.max(version.changed.nodes, version.changed.vms);
}

/** Resolves when nodes or VMs changed since `seen`, after `delayMs`, or when `signal` aborts; never rejects. */
export async function waitForDuty(
  context: { readonly clock: Clock; readonly stateMachine: ClusterStateMachine },
  seen: number,
  delayMs: number,
  signal: AbortSignal,
): Promise<void> {
  const { clock, stateMachine } = context;
  const moved = (next: StateVersion) => dutyIndex(next) !== seen;
  await stateMachine.version.until(moved, { signal, limit: { clock, delayMs } }).catch(() => {});
}

/** Resolves after `delayMs`, or when `signal` aborts; never rejects. */
export async function pauseFor(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  await sleep(clock, delayMs, signal).catch(() => {});
}

/** Runs `work` with a signal that aborts after `timeoutMs` too, and leaves no timer behind. */
export async function withTimeLimit<T>(
  clock: Clock,
  timeoutMs: number,
  signal: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const link = linkSignal(signal);
  const timer = clock.setTimer(timeoutMs, () =>
    link.abort(new BlixardError("DEADLINE_EXCEEDED", `no end after ${timeoutMs} ms`, { outcome: "unknown" })),
  );
  try {
    return await work(link.signal);
  } finally {
    timer.cancel();
    link.release();
  }
}
