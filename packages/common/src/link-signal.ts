import { BlixardError } from "./errors.ts";
import { LazySignal } from "./lazy-signal.ts";
import { offAbort, onAbort } from "./on-abort.ts";

/** A signal that follows others until it is released: unlike AbortSignal.any, it leaves no trace on a long-lived one. */
export interface LinkedSignal {
  readonly signal: AbortSignal;
  abort(reason?: unknown): void;
  release(): void;
}

/** Most signals abort only to end what nobody waits for any more: one reason for all of them costs nothing to make. */
const released = new BlixardError("CANCELLED", "nobody waits for this any more");

/** Follows the outer signals that are given, with the reason of the first of them that has aborted. */
export function linkSignal(...outers: readonly (AbortSignal | undefined)[]): LinkedSignal {
  const signal = new LazySignal();
  const follow = () => signal.abort(outers.find((outer) => outer?.aborted)?.reason);
  if (outers.some((outer) => outer?.aborted)) follow();
  else for (const outer of outers) onAbort(outer, follow);
  return {
    signal,
    abort: (reason = released) => signal.abort(reason),
    release: () => {
      for (const outer of outers) offAbort(outer, follow);
    },
  };
}
