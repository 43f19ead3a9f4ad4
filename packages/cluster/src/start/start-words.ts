/**
 * What the other voters said of the store of this node, and what follows from it. One voter alone ends no node, but what it
 * says may be true: to go on could lose what this node has acknowledged.
 *
 *     nobody refuses ----------------------------------------> go on
 *     a majority of the others refuse -----------------------> end
 *     fewer refuse -------------------------------------------> held back: ask on, until
 *       a majority of the others say, from the newest state, that it fits --> go on
 *       a majority of the others refuse -----------------------------------> end
 *       it only ran elsewhere, and nobody says so any more ----------------> go on
 *       one voter refuses so many that they are a majority ----------------> go on, if they miss nothing of its log
 *
 * A word that the store fits counts for one that was held back only when a leader has confirmed that it comes from the
 * newest state: a state that is old knows nothing of what was promised. A leader that leads without this node has all
 * that was ever committed with it, so that a store which went back loses nothing any more.
 *
 * When all voters start together there is no leader, and one that refuses everybody would keep them all out. What it
 * can remember of them is in its own log. So those that it alone refuses go on together when they are a majority with each
 * other and the log of one of them reaches as far as its own, as in an election. Were they restored from old copies, its
 * log would reach further.
 */
import type { BlixardError } from "@blixard/common";
import { majorityOf } from "../peers/newer-start-claims.ts";

/** Why a voter refuses: the verdicts of `node.verify`, and that the node was removed. */
export type RefusalKind = "behind" | "other" | "running" | "removed";

/** The last entry of a log. */
export interface LastEntry {
  readonly index: number;
  readonly term: number;
}

interface Speaker {
  /** Undefined where its release does not say. */
  readonly lastEntry?: LastEntry | undefined;
}

export type Word = Speaker &
  (
    | {
        readonly type: "fits";
        readonly isCurrent: boolean;
        /** The voters that have refused the one who says so at its own start. */
        readonly refusedBy?: readonly number[] | undefined;
      }
    | { readonly type: "refuses"; readonly kind: RefusalKind; readonly error: BlixardError }
  );

export type StartDecision =
  | { readonly type: "goOn" }
  | { readonly type: "end"; readonly error: BlixardError }
  | {
      readonly type: "heldBack";
      readonly by: ReadonlyMap<number, BlixardError>;
      readonly waitingFor: readonly number[];
    };

export class StartWords {
  readonly #others: readonly number[];
  readonly #lastEntry: LastEntry;
  readonly #words = new Map<number, Word>();
  /** Somebody said that the store forgot something. Whoever takes that back may have forgotten it too. */
  #isDoubted = false;

  /** `others`: the ids of the other nodes that vote. `lastEntry`: of the log of this node. */
  constructor(others: readonly number[], lastEntry: LastEntry) {
    this.#others = others;
    this.#lastEntry = lastEntry;
  }

  /** The last word of a voter counts. One that is silent stays with what it said. */
  hear(id: number, word: Word): void {
    this.#words.set(id, word);
    if (word.type === "refuses" && word.kind !== "running") this.#isDoubted = true;
  }

  /** The voters whose last word is that they refuse. */
  refusedBy(): number[] {
    return [...this.#words].flatMap(([id, { type }]) => (type === "refuses" ? [id] : []));
  }

  decide(): StartDecision {
    const by = new Map<number, BlixardError>();
    let fitting = 0;
    for (const [id, word] of this.#words) {
      if (word.type === "refuses") by.set(id, word.error);
      else if (word.isCurrent) fitting++;
    }
    const needed = majorityOf(this.#others.length);
    const [error] = by.values();
    if (error !== undefined && by.size >= needed) return { type: "end", error };
    if (by.size === 0 && !this.#isDoubted) return { type: "goOn" };
    if (fitting >= needed || this.#isRefusedWithTheRest(by)) return { type: "goOn" };
    const hasSaid = (id: number) => {
      const word = this.#words.get(id);
      return word?.type === "fits" && word.isCurrent;
    };
    return { type: "heldBack", by, waitingFor: this.#others.filter((id) => !hasSaid(id)) };
  }
  /** Whether one voter refuses this one and so many others that those are a majority, which misses nothing of its log. */
  #isRefusedWithTheRest(by: ReadonlyMap<number, BlixardError>): boolean {
    const [refuser = 0] = by.keys();
    const refusal = this.#words.get(refuser);
    if (by.size !== 1 || refusal?.type !== "refuses" || refusal.kind === "running") return false;
    const reach = refusal.lastEntry;
    if (reach === undefined) return false;
    const rest: (LastEntry | undefined)[] = [this.#lastEntry];
    for (const word of this.#words.values()) {
      if (word.type !== "fits" || word.refusedBy?.length !== 1 || word.refusedBy[0] !== refuser) continue;
      rest.push(word.lastEntry);
    }
    const voters = this.#others.length + 1;
    return rest.length > voters / 2 && rest.some((entry) => entry !== undefined && reachesAsFar(entry, reach));
  }
}

function reachesAsFar(entry: LastEntry, other: LastEntry): boolean {
  return entry.term > other.term || (entry.term === other.term && entry.index >= other.index);
}
