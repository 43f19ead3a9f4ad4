/**
 * A term begins with a candidate, which stores its own vote for itself before it asks for others (paper, section 5.2). So a
 * term that a node stores, and in which no node has voted for itself, was made up by somebody.
 */
import type { HardState } from "@blixard/raft";
import type { Violations } from "./violation.ts";

export class TermChecker {
  readonly #violations: Violations;
  /** Terms in which a node was a candidate. The first one is that of a new group, whose members are its first entry. */
  readonly #begun = new Set<number>([0, 1]);

  constructor(violations: Violations) {
    this.#violations = violations;
  }

  stored(nodeId: number, { term, vote }: HardState): void {
    if (vote === nodeId) this.#begun.add(term);
    if (this.#begun.has(term)) return;
    this.#violations.report("a term begins with a candidate", `node ${nodeId} is in term ${term}, which nobody began`);
  }
}
