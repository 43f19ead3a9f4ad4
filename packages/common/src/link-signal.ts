import { BlixardError } from "./errors.ts";
import { offAbort, onAbort } from "./on-abort.ts";

/** A signal that follows `outer` until it is released: unlike AbortSignal.any, it leaves no trace on a long-lived one. */
export interface LinkedSignal {
  readonly signal: AbortSignal;
  abort(reason?: unknown): void;
  release(): void;
}

/** Most signals abort only to end what nobody waits for any more: one reason for all of them costs nothing to make. */
const released = new BlixardError("CANCELLED", "nobody waits for this any more");

export function linkSignal(outer: AbortSignal | undefined): LinkedSignal {
  const controller = new AbortController();
  const follow = () => controller.abort(outer?.reason);
  if (outer?.aborted) follow();
  else onAbort(outer, follow);
  return {
    signal: controller.signal,
    abort: (reason = released) => controller.abort(reason),
    release: () => offAbort(outer, follow),
  };
}
