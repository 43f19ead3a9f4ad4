/**
 * A signal that costs nothing until somebody listens to it. Each call has several signals inside each other, for its time,
 * its attempts and its caller, and nearly none of them ever aborts; an AbortController and a listener on its signal cost
 * more than most of what else is done for a call. Listeners of `onAbort` are kept here; what asks for more of an AbortSignal
 * (a function of Node.js that listens by itself) gets it from a real one, made then.
 */

/** An AbortSignal that its owner aborts by itself. Whoever only listens gets it as an `AbortSignal`. */
export class LazySignal implements AbortSignal {
  #reason: unknown;
  #aborted = false;
  #listeners: Set<() => void> | undefined;
  #real: AbortController | undefined;

  get aborted(): boolean {
    return this.#aborted;
  }

  get reason(): unknown {
    return this.#reason;
  }

  /** Only the first abort counts. */
  abort(reason: unknown): void {
    if (this.#aborted) return;
    this.#aborted = true;
    this.#reason = reason;
    const listeners = this.#listeners;
    this.#real?.abort(reason);
    // A listener may take back one that has not been called yet.
    if (listeners !== undefined) for (const listener of listeners) callAlone(listener);
    this.#listeners = undefined;
  }

  throwIfAborted(): void {
    if (this.#aborted) throw this.#reason;
  }

  /** See `onAbort`, which everybody uses. */
  listen(listener: () => void): void {
    this.#listeners ??= new Set();
    this.#listeners.add(listener);
  }

  unlisten(listener: () => void): void {
    this.#listeners?.delete(listener);
  }

  get onabort(): AbortSignal["onabort"] {
    return this.#signal.onabort;
  }

  set onabort(listener: AbortSignal["onabort"]) {
    this.#signal.onabort = listener;
  }

  addEventListener(...listened: Parameters<AbortSignal["addEventListener"]>): void {
    this.#signal.addEventListener(...listened);
  }

  removeEventListener(...listened: Parameters<AbortSignal["removeEventListener"]>): void {
    this.#signal.removeEventListener(...listened);
  }

  dispatchEvent(event: Event): boolean {
    return this.#signal.dispatchEvent(event);
  }

  get #signal(): AbortSignal {
    if (this.#real === undefined) {
      this.#real = new AbortController();
      if (this.#aborted) this.#real.abort(this.#reason);
    }
    return this.#real.signal;
  }
}

/** A fault of one listener is seen, and is not the others': as with the listeners of an AbortSignal. */
function callAlone(listener: () => void): void {
  try {
    listener();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
