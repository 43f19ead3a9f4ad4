/**
 * Virtual time: events run one by one in the order of their times, and every promise that can go on does so before the
 * next event. Nothing here depends on the clock of the machine, so a run is a function of its seed.
 */
import type { Timer } from "@blixard/common";
import type { Trace } from "./trace.ts";

interface PendingEvent {
  readonly atMs: number;
  /** Breaks ties: what was planned first runs first. */
  readonly order: number;
  readonly tag: number;
  run: (() => void) | undefined;
}

/** Node.js drains all promises between two immediates; many at once cost far less than a turn of its loop for each. */
const immediatesPerTurn = 256;

export class VirtualTime {
  readonly #trace: Trace;
  readonly #heap: PendingEvent[] = [];
  #order = 0;
  #nowMs = 0;
  #eventCount = 0;

  constructor(trace: Trace) {
    this.#trace = trace;
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  /** Events that ran since the start. */
  get eventCount(): number {
    return this.#eventCount;
  }

  /** Runs `run` at `nowMs + delayMs`. `tag` names the owner in the trace. */
  after(delayMs: number, tag: number, run: () => void): Timer {
    const event: PendingEvent = { atMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, tag, run };
    this.#push(event);
    return {
      cancel: () => {
        event.run = undefined;
      },
    };
  }

  /** Runs events until `endMs` is reached or `stop` holds; `stop` is asked before each event. */
  runUntil(endMs: number, stop: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      let ended = false;
      let planned = 0;
      const end = (finish: () => void) => {
        ended = true;
        finish();
      };
      const turn = () => {
        planned--;
        if (ended) return;
        try {
          if (stop()) end(resolve);
          else if (!this.#step(endMs)) end(resolve);
        } catch (error) {
          end(() => reject(error));
        }
        if (!ended && planned === 0) plan();
      };
      const plan = () => {
        planned = immediatesPerTurn;
        for (let count = 0; count < immediatesPerTurn; count++) setImmediate(turn);
      };
      plan();
    });
  }

  /** Runs the next event; false when there is none up to `endMs`. */
  #step(endMs: number): boolean {
    for (;;) {
      const event = this.#heap[0];
      if (event === undefined || event.atMs > endMs) {
        this.#nowMs = Math.max(this.#nowMs, endMs);
        return false;
      }
      this.#pop();
      const { run } = event;
      if (run === undefined) continue;
      event.run = undefined;
      this.#nowMs = event.atMs;
      this.#eventCount++;
      this.#trace.mix(event.tag, event.atMs);
      run();
      return true;
    }
  }

  #push(event: PendingEvent): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parentAt = (at - 1) >> 1;
      const parent = heap[parentAt];
      if (parent === undefined || !isBefore(event, parent)) break;
      heap[at] = parent;
      at = parentAt;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let childAt = 2 * at + 1;
      let child = heap[childAt];
      if (child === undefined) break;
      const right = heap[childAt + 1];
      if (right !== undefined && isBefore(right, child)) {
        childAt++;
        child = right;
      }
      if (!isBefore(child, last)) break;
      heap[at] = child;
      at = childAt;
    }
    heap[at] = last;
  }
}

function isBefore(a: PendingEvent, b: PendingEvent): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
