import type { Clock } from "./clock.ts";
import { BlixardError } from "./errors.ts";

/** What to throw for an aborted signal: its own reason when that is an error, else `CANCELLED`. */
export function abortReason(signal: AbortSignal | undefined): Error {
  const reason: unknown = signal?.reason;
  if (typeof reason === "object" && reason !== null && (reason as { name?: unknown }).name === "BlixardError") {
    return reason as Error;
  }
  return new BlixardError("CANCELLED", "the operation was cancelled", { cause: reason });
}

/** Resolves after `delayMs` of `clock`; rejects at once when `signal` aborts. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(abortReason(signal));
      return;
    }
    const timer = clock.setTimer(delayMs, () => {
      signal?.removeEventListener("abort", abort);
      resolve();
    });
    const abort = () => {
      timer.cancel();
      reject(abortReason(signal));
    };
    signal?.addEventListener("abort", abort, { once: true });
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
  const controller = new AbortController();
  let fail: (error: Error) => void = () => {};
  const ended = new Promise<never>((_, reject) => {
    fail = reject;
  });
  const stop = (error: Error) => {
    fail(error);
    controller.abort(error);
  };
  const timer = clock.setTimer(timeoutMs, () =>
    stop(new BlixardError("DEADLINE_EXCEEDED", `${what} took longer than ${timeoutMs} ms`, { outcome: "unknown" })),
  );
  const abort = () => stop(abortReason(signal));
  signal?.addEventListener("abort", abort, { once: true });
  try {
    const running = work(controller.signal);
    running.catch(() => {});
    return await Promise.race([running, ended]);
  } finally {
    timer.cancel();
    signal?.removeEventListener("abort", abort);
  }
}
