/**
 * The window of append messages on their way to one peer: a ring of (last index, bytes) in sending order. The limit
 * in bytes is soft: a message may start below it and end above it.
 */
import { assert } from "@blixard/common";
import type { LogIndex } from "./types.ts";

/** Slots of a ring when the first message enters it; always a power of two. */
const slotsMin = 8;

export class Inflights {
  readonly #messagesMax: number;
  readonly #bytesMax: number;
  #indexes: number[] = [];
  #sizes: number[] = [];
  #start = 0;
  #count = 0;
  #bytes = 0;

  constructor(messagesMax: number, bytesMax: number) {
    this.#messagesMax = messagesMax;
    this.#bytesMax = bytesMax;
  }

  get count(): number {
    return this.#count;
  }

  get full(): boolean {
    return this.#count >= this.#messagesMax || this.#bytes >= this.#bytesMax;
  }

  /** Notes a message that ends with the entry at `index`. Indexes never go down; `full` must be false. */
  add(index: LogIndex, bytes: number): void {
    assert(!this.full, "an append message was sent past a full window");
    if (this.#count === this.#indexes.length) this.#grow();
    const at = (this.#start + this.#count) & (this.#indexes.length - 1);
    this.#indexes[at] = index;
    this.#sizes[at] = bytes;
    this.#count++;
    this.#bytes += bytes;
  }

  /** Forgets the messages whose last entry is at or below `index`: the peer has them. */
  freeTo(index: LogIndex): void {
    const mask = this.#indexes.length - 1;
    while (this.#count > 0 && (this.#indexes[this.#start] ?? 0) <= index) {
      this.#bytes -= this.#sizes[this.#start] ?? 0;
      this.#start = (this.#start + 1) & mask;
      this.#count--;
    }
  }

  clear(): void {
    this.#start = 0;
    this.#count = 0;
    this.#bytes = 0;
  }

  #grow(): void {
    const slots = Math.max(slotsMin, this.#indexes.length * 2);
    const mask = this.#indexes.length - 1;
    const indexes = new Array<number>(slots).fill(0);
    const sizes = new Array<number>(slots).fill(0);
    for (let at = 0; at < this.#count; at++) {
      indexes[at] = this.#indexes[(this.#start + at) & mask] ?? 0;
      sizes[at] = this.#sizes[(this.#start + at) & mask] ?? 0;
    }
    this.#indexes = indexes;
    this.#sizes = sizes;
    this.#start = 0;
  }
}
