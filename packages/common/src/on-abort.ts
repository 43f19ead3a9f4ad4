/**
 * Listening to signals that many listen to. A signal that ends a whole node has a listener for each wait of that node, and
 * Node.js takes more than ten for a leak and says so on standard error. All listeners of this module on one signal are one
 * for Node.js; it goes with the last of them, because signals with listeners are not collected.
 */
import { LazySignal } from "./lazy-signal.ts";

const listenersOf = new WeakMap<AbortSignal, Set<() => void>>();

/** Calls `listener` once when `signal` aborts, which must not have happened yet. */
export function onAbort(signal: AbortSignal | undefined, listener: () => void): void {
  if (signal === undefined) return;
  if (signal instanceof LazySignal) {
    signal.listen(listener);
    return;
  }
  const present = listenersOf.get(signal);
  if (present !== undefined) {
    present.add(listener);
    return;
  }
  listenersOf.set(signal, new Set([listener]));
  signal.addEventListener("abort", callListeners, { once: true });
}

/** Takes back an `onAbort`. */
export function offAbort(signal: AbortSignal | undefined, listener: () => void): void {
  if (signal === undefined) return;
  if (signal instanceof LazySignal) {
    signal.unlisten(listener);
    return;
  }
  const present = listenersOf.get(signal);
  if (!present?.delete(listener) || present.size > 0) return;
  listenersOf.delete(signal);
  signal.removeEventListener("abort", callListeners);
}

function callListeners(this: AbortSignal): void {
  const errors: unknown[] = [];
  // A listener may take back one that has not been called yet.
  for (const listener of listenersOf.get(this) ?? []) {
    try {
      listener();
    } catch (error) {
      errors.push(error);
    }
  }
  listenersOf.delete(this);
  // A fault of one listener is seen, and is not the others'.
  if (errors.length > 0) throw errors[0];
}
