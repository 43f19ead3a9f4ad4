import { assert } from "./assert.ts";

/** A first-in first-out queue that refuses, rather than grows, when it holds `itemsMax` items. */
export class BoundedQueue<T> {
  readonly #itemsMax: number;
  #items: T[] = [];
  #head = 0;

  constructor(itemsMax: number) {
    assert(itemsMax > 0, "a queue holds at least one item");
    this.#itemsMax = itemsMax;
  }

  get length(): number {
    return this.#items.length - this.#head;
  }

  /** False when the queue is full and the item was not taken. */
  push(item: T): boolean {
    if (this.length >= this.#itemsMax) return false;
    this.#items.push(item);
    return true;
  }

  shift(): T | undefined {
    if (this.length === 0) return undefined;
    const item = this.#items[this.#head];
    this.#items[this.#head] = undefined as T;
    this.#head++;
    if (this.#head > 1024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  peek(): T | undefined {
    return this.#items[this.#head];
  }

  clear(): void {
    this.#items = [];
    this.#head = 0;
  }
}
