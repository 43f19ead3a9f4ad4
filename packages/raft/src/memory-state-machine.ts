/**
 * A state machine whose state lives in memory: enough for most programs, because a node that starts again restores
 * the newest snapshot and applies the log behind it.
 */
import { concatBytes } from "@blixard/common";
import { emptyConfState } from "./core/tracker.ts";
import { asLogIndex, asTerm } from "./core/types.ts";
import type { AppliedState, StateMachine } from "./ports.ts";

export interface MemoryStateMachineOptions<Result> {
  /** Carries out one command, alike on every node: no clock, no randomness. Never throws for a bad command. */
  readonly apply: (data: Uint8Array) => Result;
  /**
   * Returns the whole state as it is now, as bytes or in chunks that later commands do not change. Equal states must
   * give equal bytes on every node. A large state should come in chunks, so that the event loop can run between them.
   */
  readonly save: () => Uint8Array | AsyncIterable<Uint8Array>;
  /** Replaces the whole state by what `save` gave on some node. */
  readonly load: (bytes: Uint8Array) => void;
}

export function memoryStateMachine<Result>(options: MemoryStateMachineOptions<Result>): StateMachine<Result> {
  let applied: AppliedState = { index: asLogIndex(0), term: asTerm(0), confState: emptyConfState() };
  return {
    load: async () => applied,
    apply: async (entries, after) => {
      const results = entries.map((entry) =>
        entry.kind === "normal" && entry.data.length > 0 ? options.apply(entry.data) : undefined,
      );
      applied = after;
      return results;
    },
    snapshot: async () => {
      const state = options.save();
      return { at: applied, chunks: state instanceof Uint8Array ? whole(state) : state };
    },
    restore: async (at, chunks) => {
      const all: Uint8Array[] = [];
      for await (const chunk of chunks) all.push(chunk);
      options.load(concatBytes(all));
      applied = at;
    },
    flush: async () => {},
    close: async () => {},
  };
}

async function* whole(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}
