/** A log that survives `close` and a new `load`, but not its process. */
import { assert, BlixardError } from "@blixard/common";
import { asLogIndex, asTerm, type Entry, type HardState, type LogIndex, noNode, type Term } from "../core/types.ts";
import type { LogContents, LogStore, LogWrite } from "../ports.ts";

export class MemoryLogStore implements LogStore {
  #hardState: HardState = { term: asTerm(0), vote: noNode, commit: asLogIndex(0) };
  #base: LogContents["base"] = { index: asLogIndex(0), term: asTerm(0) };
  #entries: Entry[] = [];
  #open = false;

  async load(): Promise<LogContents> {
    this.#open = true;
    return { hardState: this.#hardState, base: this.#base, entries: [...this.#entries] };
  }

  async append({ entries, hardState }: LogWrite): Promise<void> {
    this.#assertOpen();
    const first = entries[0];
    if (first !== undefined) {
      const keep = first.index - this.#base.index - 1;
      assert(keep >= 0 && keep <= this.#entries.length, `entry ${first.index} is not contiguous with the log`);
      this.#entries.length = keep;
      for (const entry of entries) this.#entries.push(entry);
    }
    if (hardState !== undefined) this.#hardState = hardState;
  }

  async compact(base: { readonly index: LogIndex; readonly term: Term }): Promise<void> {
    this.#assertOpen();
    const count = base.index - this.#base.index;
    if (count <= 0) return;
    assert(count <= this.#entries.length, `cannot compact to ${base.index}, which is behind the end of the log`);
    this.#entries.splice(0, count);
    this.#base = base;
  }

  async reset(base: { readonly index: LogIndex; readonly term: Term }, hardState: HardState): Promise<void> {
    this.#assertOpen();
    this.#entries = [];
    this.#base = base;
    this.#hardState = hardState;
  }

  async close(): Promise<void> {
    this.#open = false;
  }

  #assertOpen(): void {
    if (!this.#open) throw new BlixardError("STOPPED", "the log is not open");
  }
}
