/**
 * The simplest state machine that shows every mistake: its state is the list of all payloads in the order they were
 * applied. It survives `close`, as a disk would.
 */
import { BlixardError, concatBytes, fromUtf8, toUtf8 } from "@blixard/common";
import { asLogIndex, asTerm, type Entry } from "../core/types.ts";
import type { AppliedState, StateMachine } from "../ports.ts";

const emptyState: AppliedState = {
  index: asLogIndex(0),
  term: asTerm(0),
  confState: { voters: [], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false },
};

export class AppendLogMachine implements StateMachine<number> {
  #applied = emptyState;
  #values: string[] = [];
  /** When set, the next calls that write fail with it. */
  failure: Error | undefined;
  /** When set, calls that write wait for it, as on a disk that hangs. */
  stuck: Promise<void> | undefined;

  get values(): readonly string[] {
    return this.#values;
  }

  get applied(): AppliedState {
    return this.#applied;
  }

  async load(): Promise<AppliedState> {
    return this.#applied;
  }

  /** The result of an entry is how many there are with it. */
  async apply(entries: readonly Entry[], after: AppliedState): Promise<readonly (number | undefined)[]> {
    if (this.failure !== undefined) throw this.failure;
    await this.stuck;
    const results = entries.map((entry) => {
      if (entry.index <= this.#applied.index) throw new BlixardError("INVARIANT", `entry ${entry.index} comes twice`);
      if (entry.kind !== "normal" || entry.data.length === 0) return undefined;
      this.#values.push(toUtf8(entry.data));
      return this.#values.length;
    });
    this.#applied = after;
    return results;
  }

  async snapshot(): Promise<{ readonly at: AppliedState; readonly chunks: AsyncIterable<Uint8Array> }> {
    return { at: this.#applied, chunks: linesOf([...this.#values]) };
  }

  async restore(at: AppliedState, chunks: AsyncIterable<Uint8Array>): Promise<void> {
    if (this.failure !== undefined) throw this.failure;
    const parts: Uint8Array[] = [];
    for await (const chunk of chunks) parts.push(chunk);
    const text = toUtf8(concatBytes(parts));
    this.#values = text === "" ? [] : text.trimEnd().split("\n");
    this.#applied = at;
  }

  async flush(): Promise<void> {
    if (this.failure !== undefined) throw this.failure;
    await this.stuck;
  }

  async close(): Promise<void> {}
}

async function* linesOf(values: readonly string[]): AsyncIterable<Uint8Array> {
  for (const value of values) yield fromUtf8(`${value}\n`);
}
