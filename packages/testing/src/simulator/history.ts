/** What clients asked of the key-value store and what they were told, in the order in which an observer saw it. */

export type KvCall =
  | { readonly type: "get" }
  | { readonly type: "put"; readonly value: string }
  | { readonly type: "delete" }
  | { readonly type: "cas"; readonly from: string | null; readonly to: string };

/** What the client was told; `unknown` when nobody answered: the call may have taken effect, then or later. */
export type KvOutcome =
  | { readonly type: "unknown" }
  | { readonly type: "read"; readonly value: string | null }
  | { readonly type: "done" }
  /** A delete of a key that is not there. */
  | { readonly type: "absent" }
  | { readonly type: "swapped"; readonly swapped: boolean };

export interface KvOperation {
  readonly key: string;
  readonly call: KvCall;
  /** Positions in the order of all starts and ends. */
  readonly startedAt: number;
  endedAt: number;
  outcome: KvOutcome;
}

export class History {
  readonly #operations = new Map<string, KvOperation[]>();
  #position = 0;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  begin(key: string, call: KvCall): KvOperation {
    const startedAt = this.#position++;
    const operation: KvOperation = {
      key,
      call,
      startedAt,
      endedAt: Number.MAX_SAFE_INTEGER,
      outcome: { type: "unknown" },
    };
    const all = this.#operations.get(key);
    if (all === undefined) this.#operations.set(key, [operation]);
    else all.push(operation);
    this.#count++;
    return operation;
  }

  end(operation: KvOperation, outcome: KvOutcome): void {
    operation.endedAt = this.#position++;
    operation.outcome = outcome;
  }

  /** The client was told, or can know, that the call had no effect. */
  forget(operation: KvOperation): void {
    const all = this.#operations.get(operation.key) ?? [];
    all.splice(all.indexOf(operation), 1);
    this.#count--;
  }

  byKey(): ReadonlyMap<string, readonly KvOperation[]> {
    return this.#operations;
  }
}
