/**
 * Waiting. Each wait ends when what it waits for is there, when its time is over, or when its signal aborts, and leaves no
 * timer and no listener behind. Which one:
 *
 * - `Watch.until`: for a level. Nothing sleeps until something "has probably settled".
 * - `sleep`: a pause that its caller may give up; rejects when `signal` aborts.
 * - `pauseFor`: a pause inside a loop that looks at its signal anyway; never rejects.
 * - `withTimeLimit`: bounds work that ends by itself when its signal aborts, and knows then what may have happened.
 * - `withDeadline`: bounds work that may not listen to its signal: the wait ends, the work may go on.
 * - `firstOf`: the first of several waits; the others are ended before it returns.
 * - `linkSignal`: a signal that follows one or more others for a while, and is released in a `finally`.
 *
 * `AbortSignal.any` leaves a trace on the signals that it follows, and no test can move the time of `AbortSignal.timeout`;
 * `tools/tidy.mjs` refuses both outside of tests.
 */
import type { Clock } from "./clock.ts";
import { BlixardError } from "./errors.ts";
import { LazySignal } from "./lazy-signal.ts";
import { linkSignal } from "./link-signal.ts";
import { offAbort, onAbort } from "./on-abort.ts";

/** What to throw for an aborted signal: its own reason when that is an error, else `CANCELLED`. */
export function abortReason(signal: AbortSignal | undefined): Error {
  const reason: unknown = signal?.reason;
  if (typeof reason === "object" && reason !== null && (reason as { name?: unknown }).name === "BlixardError") {
    return reason as Error;
  }
  return new BlixardError("CANCELLED", "the operation was cancelled", { cause: reason });
}

/**
 * Milliseconds to wait for what is done again and again, each `intervalMs`: to a multiple of it on the monotonic clock,
 * after half to one and a half times as long. So all that has the same interval comes due together, and a process at rest
 * wakes up once for it.
 */
export function untilNextMs(clock: Pick<Clock, "monotonicMs">, intervalMs: number): number {
  const leftMs = intervalMs - (clock.monotonicMs() % intervalMs);
  return leftMs < intervalMs / 2 ? leftMs + intervalMs : leftMs;
}

/** Resolves after `delayMs` of `clock`; rejects at once when `signal` aborts. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(abortReason(signal));
      return;
    }
    const timer = clock.setTimer(delayMs, () => {
      offAbort(signal, abort);
      resolve();
    });
    const abort = () => {
      timer.cancel();
      reject(abortReason(signal));
    };
    onAbort(signal, abort);
  });
}

/**
 * Runs `work` with a signal that aborts after `timeoutMs` or with the caller's `signal`. Rejects with
 * `DEADLINE_EXCEEDED` as soon as the time is over, even when `work` does not listen to its signal.
 */
export async function withDeadline<T>(
  options: { readonly clock: Clock; readonly timeoutMs: number; readonly what: string; readonly signal?: AbortSignal },
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { clock, timeoutMs, what, signal } = options;
  if (signal?.aborted) throw abortReason(signal);
  const inner = new LazySignal();
  let fail: (error: Error) => void = () => {};
  const ended = new Promise<never>((_, reject) => {
    fail = reject;
  });
  const stop = (error: Error) => {
    fail(error);
    inner.abort(error);
  };
  const timer = clock.setTimer(timeoutMs, () =>
    stop(new BlixardError("DEADLINE_EXCEEDED", `${what} took longer than ${timeoutMs} ms`, { outcome: "unknown" })),
  );
  const abort = () => stop(abortReason(signal));
  onAbort(signal, abort);
  try {
    const running = work(inner);
    running.catch(() => {});
    return await Promise.race([running, ended]);
  } finally {
    timer.cancel();
    offAbort(signal, abort);
  }
}

/**
 * Runs `work` with a signal that aborts after `timeoutMs` too. `work` has to end then: this waits for it.
 * What it is aborted with is DEADLINE_EXCEEDED with the outcome `unknown`.
 */
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

/** Resolves after `delayMs`, or when `signal` aborts; never rejects. */
export async function pauseFor(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  await sleep(clock, delayMs, signal).catch(() => {});
}

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
