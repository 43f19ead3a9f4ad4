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
 *
 * A word that the store fits counts for one that was held back only when a leader has confirmed that it comes from the
 * newest state: a state that is old knows nothing of what was promised. A leader that leads without this node has all
 * that was ever committed with it, so that a store which went back loses nothing any more.
 */
import type { BlixardError } from "@blixard/common";
import { majorityOf } from "../peers/newer-start-claims.ts";

/** Why a voter refuses: the verdicts of `node.verify`, and that the node was removed. */
export type RefusalKind = "behind" | "other" | "running" | "removed";

export type Word =
  | { readonly type: "fits"; readonly isCurrent: boolean }
  | { readonly type: "refuses"; readonly kind: RefusalKind; readonly error: BlixardError };

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
  readonly #words = new Map<number, Word>();
  /** Somebody said that the store forgot something. Whoever takes that back may have forgotten it too. */
  #isDoubted = false;

  /** `others`: the ids of the other nodes that vote. */
  constructor(others: readonly number[]) {
    this.#others = others;
  }

  /** The last word of a voter counts. One that is silent stays with what it said. */
  hear(id: number, word: Word): void {
    this.#words.set(id, word);
    if (word.type === "refuses" && word.kind !== "running") this.#isDoubted = true;
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
    if (fitting >= needed) return { type: "goOn" };
    const hasSaid = (id: number) => {
      const word = this.#words.get(id);
      return word?.type === "fits" && word.isCurrent;
    };
    return { type: "heldBack", by, waitingFor: this.#others.filter((id) => !hasSaid(id)) };
  }
}
