import { RecentKeys } from "./recent-keys.ts";
import { type UntilOptions, Watch } from "./watch.ts";

/** A map whose changes can be waited for. Who keeps up with it by `changedSince` pays for what changed, and not for what is in it. */
export class WatchedMap<V> {
  /** Grows with each change. */
  readonly version = new Watch(0);
  readonly #entries = new Map<string, V>();
  readonly #recent = new RecentKeys();
  #copy: ReadonlyMap<string, V> | undefined;

  get(key: string): V | undefined {
    return this.#entries.get(key);
  }

  /** All that is in it now: the same object until something changes. */
  get value(): ReadonlyMap<string, V> {
    this.#copy ??= new Map(this.#entries);
    return this.#copy;
  }

  /** The keys that were set or deleted after that version; undefined when it is too long ago to say. */
  changedSince(version: number): ReadonlySet<string> | undefined {
    return this.#recent.since(version);
  }

  set(key: string, value: V): void {
    this.#entries.set(key, value);
    this.#changed([key]);
  }

  delete(key: string): void {
    if (this.#entries.delete(key)) this.#changed([key]);
  }

  /** What is not in `next` goes. */
  replace(next: ReadonlyMap<string, V>): void {
    const keys = new Set([...this.#entries.keys(), ...next.keys()]);
    this.#entries.clear();
    for (const [key, value] of next) this.#entries.set(key, value);
    this.#changed(keys);
  }

  async until(
    holds: (value: ReadonlyMap<string, V>) => boolean,
    options: UntilOptions = {},
  ): Promise<ReadonlyMap<string, V>> {
    await this.version.until(() => holds(this.value), options);
    return this.value;
  }

  #changed(keys: Iterable<string>): void {
    const version = this.version.value + 1;
    this.#copy = undefined;
    this.#recent.add(version, keys);
    this.version.set(version);
  }
}
