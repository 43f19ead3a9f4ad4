/** Bytes that come from outside, in pieces of at most `pieceBytesMax`, for one reader that asks for them in its own time. */
export class PieceQueue {
  readonly #pieceBytesMax: number;
  readonly #waiting: Uint8Array[] = [];
  #ended = false;
  #wake: (() => void) | undefined;

  constructor(pieceBytesMax: number) {
    this.#pieceBytesMax = pieceBytesMax;
  }

  /** Pieces that were not asked for yet. */
  get length(): number {
    return this.#waiting.length;
  }

  /** Copies the bytes. */
  push(bytes: Uint8Array): void {
    for (let from = 0; from < bytes.length; from += this.#pieceBytesMax) {
      this.#waiting.push(new Uint8Array(bytes.subarray(from, from + this.#pieceBytesMax)));
    }
    this.#wake?.();
  }

  /** No more comes. What is there is still given. */
  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  /** `onEmpty` is called each time the reader has to wait. */
  async *pieces(onEmpty: () => void = () => {}): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      const piece = this.#waiting.shift();
      if (piece !== undefined) yield piece;
      else if (this.#ended) return;
      else {
        const arrival = new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        onEmpty();
        await arrival;
      }
    }
  }
}
