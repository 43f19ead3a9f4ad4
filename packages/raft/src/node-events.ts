/** What a node tells about itself, typed, to any number of listeners. */
import { offAbort, onAbort } from "@blixard/common";
import type { RaftEvent } from "./core/events.ts";
import type { LogIndex, NodeId, Term } from "./core/types.ts";
import type { MemberProgress } from "./membership/member-progress.ts";

/** Events of the core, and those of the loop around it. */
export type RaftNodeEvent =
  | RaftEvent
  /** Another node leads than before; 0 while none is known. */
  | { readonly type: "leaderChanged"; readonly leaderId: NodeId; readonly term: Term }
  | {
      readonly type: "snapshotTaken";
      readonly index: LogIndex;
      readonly sizeBytes: number;
      readonly durationMs: number;
    }
  | {
      readonly type: "snapshotSendStarted";
      readonly to: NodeId;
      readonly index: LogIndex;
      readonly sizeBytes: number;
      /** Above 0 where an earlier transfer of the same snapshot goes on. */
      readonly fromOffset: number;
    }
  | {
      readonly type: "snapshotSendEnded";
      readonly to: NodeId;
      readonly index: LogIndex;
      readonly ok: boolean;
      readonly reason: string;
    }
  | {
      readonly type: "snapshotReceiveStarted";
      readonly from: NodeId;
      readonly index: LogIndex;
      readonly sizeBytes: number;
    }
  | {
      readonly type: "snapshotReceiveEnded";
      readonly from: NodeId;
      readonly index: LogIndex;
      readonly ok: boolean;
      readonly reason: string;
    }
  | { readonly type: "memberProgress"; readonly id: NodeId; readonly progress: MemberProgress }
  /**
   * A write of log or state, or a snapshot, made no progress for `oldestMs`. The node warns, or hands leadership over;
   * it never hands leadership over because of a snapshot.
   */
  | {
      readonly type: "diskSlow";
      readonly what: "write" | "snapshot";
      readonly oldestMs: number;
      readonly action: "warn" | "step_down";
    }
  /** The node stops, and onFatal was called. */
  | { readonly type: "failed"; readonly code: string; readonly message: string }
  /** This listener was too slow: `count` events are missing here. */
  | { readonly type: "eventsLost"; readonly count: number };

/** Most events that wait for one listener. Beyond that the oldest are dropped and counted. */
const backlogMax = 1_024;

interface Listener {
  events: RaftNodeEvent[];
  lost: number;
  wake: () => void;
}

export class NodeEvents {
  readonly #listeners = new Set<Listener>();
  #ended = false;

  emit(event: RaftNodeEvent): void {
    for (const listener of this.#listeners) {
      if (listener.events.length >= backlogMax) {
        listener.events.shift();
        listener.lost++;
      }
      listener.events.push(event);
      listener.wake();
    }
  }

  /** Yields every event after the call, until `signal` aborts, the reader stops or the node closes. */
  listen(signal: AbortSignal | undefined): AsyncIterableIterator<RaftNodeEvent> {
    const listener: Listener = { events: [], lost: 0, wake: () => {} };
    if (!this.#ended) this.#listeners.add(listener);
    const abort = () => {
      this.#listeners.delete(listener);
      listener.wake();
    };
    onAbort(signal, abort);
    if (signal?.aborted) abort();
    return this.#read(listener, () => offAbort(signal, abort));
  }

  async *#read(listener: Listener, done: () => void): AsyncIterableIterator<RaftNodeEvent> {
    try {
      for (;;) {
        const event = takeNext(listener);
        if (event !== undefined) yield event;
        else if (!this.#listeners.has(listener)) return;
        else {
          await new Promise<void>((resolve) => {
            listener.wake = resolve;
          });
        }
      }
    } finally {
      this.#listeners.delete(listener);
      done();
    }
  }

  /** Ends every listener after the events that wait for it. */
  end(): void {
    this.#ended = true;
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    for (const listener of listeners) listener.wake();
  }
}

function takeNext(listener: Listener): RaftNodeEvent | undefined {
  if (listener.lost > 0) {
    const count = listener.lost;
    listener.lost = 0;
    return { type: "eventsLost", count };
  }
  return listener.events.shift();
}
