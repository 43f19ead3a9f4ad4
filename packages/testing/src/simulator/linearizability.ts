/**
 * Decides whether a history of one key is linearizable: whether each operation can have happened at one moment between
 * its start and its end. The search of Wing and Gong, with the memory of Lowe ("Testing for linearizability", 2017):
 * take any operation that nothing unfinished precedes, go on from the state that it leads to, and go back where that
 * does not end. A pair of (operations done, state) is looked at once.
 */
import type { KvOperation } from "./history.ts";

export type Verdict =
  | { readonly type: "linearizable" }
  /** `detail` names the operation at which every order fails. */
  | { readonly type: "violation"; readonly detail: string }
  /** The search was cut off. */
  | { readonly type: "undecided" };

type Value = string | null;

const stepsMax = 200_000;

/** `initial` is the value before the first operation. */
export function checkRegister(history: readonly KvOperation[], initial: Value = null): Verdict {
  const operations = [...history].sort((a, b) => a.startedAt - b.startedAt);
  const search = new Search(operations);
  return search.run(initial);
}

interface Frame {
  readonly operation: number;
  readonly valueBefore: Value;
  readonly firstBefore: number;
}

class Search {
  readonly #operations: readonly KvOperation[];
  readonly #done: boolean[];
  readonly #seen = new Set<string>();
  /** Everything before it is done. */
  #first = 0;
  #deepest = 0;

  constructor(operations: readonly KvOperation[]) {
    this.#operations = operations;
    this.#done = operations.map(() => false);
  }

  run(initial: Value): Verdict {
    const stack: Frame[] = [];
    let value = initial;
    let from = 0;
    for (let steps = 0; steps < stepsMax; steps++) {
      if (this.#isComplete()) return { type: "linearizable" };
      const next = this.#candidate(Math.max(from, this.#first), value);
      if (next !== undefined) {
        stack.push({ operation: next.at, valueBefore: value, firstBefore: next.firstBefore });
        value = next.value;
        from = 0;
        continue;
      }
      const frame = stack.pop();
      if (frame === undefined) return { type: "violation", detail: this.#describe() };
      this.#done[frame.operation] = false;
      this.#first = frame.firstBefore;
      value = frame.valueBefore;
      from = frame.operation + 1;
    }
    return { type: "undecided" };
  }

  /** Operations without an answer may come last, or never. */
  #isComplete(): boolean {
    for (let at = this.#first; at < this.#operations.length; at++) {
      if (!this.#done[at] && this.#operations[at]?.outcome.type !== "unknown") return false;
    }
    return true;
  }

  #candidate(
    from: number,
    value: Value,
  ): { readonly at: number; readonly value: Value; readonly firstBefore: number } | undefined {
    const endedFirst = this.#firstEnd();
    for (let at = from; at < this.#operations.length; at++) {
      const operation = this.#operations[at];
      if (operation === undefined || operation.startedAt > endedFirst) return undefined;
      if (this.#done[at]) continue;
      const next = stepOf(operation, value);
      if (next === undefined) continue;
      this.#done[at] = true;
      const firstBefore = this.#first;
      while (this.#done[this.#first]) this.#first++;
      if (this.#isNew(next)) return { at, value: next, firstBefore };
      this.#done[at] = false;
      this.#first = firstBefore;
    }
    return undefined;
  }

  /** An operation that starts after this position cannot come next. */
  #firstEnd(): number {
    let endedAt = Number.MAX_SAFE_INTEGER;
    for (let at = this.#first; at < this.#operations.length; at++) {
      const operation = this.#operations[at];
      if (operation === undefined || operation.startedAt > endedAt) break;
      if (!this.#done[at] && operation.endedAt < endedAt) endedAt = operation.endedAt;
    }
    return endedAt;
  }

  #isNew(value: Value): boolean {
    let ahead = "";
    for (let at = this.#first; at < this.#done.length; at++) if (this.#done[at]) ahead += `${at},`;
    const key = `${this.#first}|${ahead}|${value ?? ""}`;
    if (this.#seen.has(key)) return false;
    this.#seen.add(key);
    this.#deepest = Math.max(this.#deepest, this.#first);
    return true;
  }

  #describe(): string {
    const around = this.#operations.slice(Math.max(0, this.#deepest - 4), this.#deepest + 4);
    return around.map(describe).join("; ");
  }
}

/** The value after the operation; undefined when its outcome is impossible at this value. */
function stepOf({ call, outcome }: KvOperation, value: Value): Value | undefined {
  switch (call.type) {
    case "get":
      return outcome.type === "read" && outcome.value === value ? value : undefined;
    case "put":
      return call.value;
    case "delete":
      if (outcome.type === "done" && value === null) return undefined;
      if (outcome.type === "absent" && value !== null) return undefined;
      return null;
    case "cas": {
      const swaps = value === call.from;
      if (outcome.type === "swapped" && outcome.swapped !== swaps) return undefined;
      return swaps ? call.to : value;
    }
    default:
      return call satisfies never;
  }
}

function describe({ key, call, outcome, startedAt, endedAt }: KvOperation): string {
  const argument = call.type === "put" ? ` ${call.value}` : call.type === "cas" ? ` ${call.from} -> ${call.to}` : "";
  const answer =
    outcome.type === "read" ? `${outcome.value}` : outcome.type === "swapped" ? `${outcome.swapped}` : outcome.type;
  const end = endedAt === Number.MAX_SAFE_INTEGER ? "" : endedAt;
  return `[${startedAt}..${end}] ${call.type} ${key}${argument} = ${answer}`;
}
