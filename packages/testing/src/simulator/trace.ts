/** A running fingerprint of everything that happened: two runs of one seed must end with the same one. */
export class Trace {
  #low = 0x811c9dc5;
  #high = 0x9e3779b9;
  readonly #scratch = new Float64Array(1);
  readonly #words = new Uint32Array(this.#scratch.buffer);

  /** Adds what happened and a number that goes with it. */
  mix(tag: number, value: number): void {
    this.#scratch[0] = value;
    const first = this.#words[0] ?? 0;
    const second = this.#words[1] ?? 0;
    this.#low = Math.imul(this.#low ^ tag ^ first, 0x01000193);
    this.#high = Math.imul(this.#high ^ second ^ (this.#low >>> 15), 0x85ebca6b);
  }

  digest(): string {
    const hex = (word: number) => (word >>> 0).toString(16).padStart(8, "0");
    return hex(this.#high) + hex(this.#low);
  }
}
