/**
 * Which keys changed lately, and at which index, so that whoever watches keys need not look at all of them. A fixed number
 * of changes is remembered: a reader that is further behind looks at everything once.
 */
const changesMax = 4_096;

export class RecentKeys {
  /** In order of their indexes. */
  #changes: { readonly index: number; readonly key: string }[] = [];
  /** Everything after this index is here. */
  #completeAfter = 0;

  /** The state at `index` came as a whole. */
  reset(index: number): void {
    this.#changes = [];
    this.#completeAfter = index;
  }

  add(index: number, keys: Iterable<string>): void {
    for (const key of keys) this.#changes.push({ index, key });
    // Half of them go at a time, so that a change costs little on an average.
    if (this.#changes.length <= 2 * changesMax) return;
    const left = this.#changes.slice(-changesMax);
    this.#completeAfter = this.#changes.at(-changesMax - 1)?.index ?? index;
    this.#changes = left;
  }

  /** The keys that changed after `index`; undefined when not all of them are known any more. */
  since(index: number): ReadonlySet<string> | undefined {
    if (index < this.#completeAfter) return undefined;
    const keys = new Set<string>();
    for (let at = this.#changes.length - 1; at >= 0; at--) {
      const change = this.#changes[at];
      if (change === undefined || change.index <= index) break;
      keys.add(change.key);
    }
    return keys;
  }
}
