/** What a checker found. The first one ends a run; the seed is all that is needed to see it again. */
export interface Violation {
  /** Name of the property, for example `one leader a term`. */
  readonly property: string;
  readonly detail: string;
  /** Virtual milliseconds since the start. */
  readonly atMs: number;
  /** Number of the event in which it was seen. */
  readonly step: number;
}

/** Collects violations; the driver looks after each event. Throwing would end inside the code that is under test. */
export class Violations {
  #first: Violation | undefined;
  #now: () => { readonly atMs: number; readonly step: number } = () => ({ atMs: 0, step: 0 });

  setNow(now: () => { readonly atMs: number; readonly step: number }): void {
    this.#now = now;
  }

  get nowMs(): number {
    return this.#now().atMs;
  }

  get first(): Violation | undefined {
    return this.#first;
  }

  report(property: string, detail: string): void {
    this.#first ??= { property, detail, ...this.#now() };
  }
}
