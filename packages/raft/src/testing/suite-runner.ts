/** What a conformance suite needs of a test runner: `@jest/globals`, Vitest and others have it. */
export interface SuiteRunner {
  readonly describe: (name: string, define: () => void) => void;
  readonly it: (name: string, run: () => Promise<void>) => void;
  readonly expect: (actual: unknown) => {
    toEqual(expected: unknown): void;
    readonly rejects: { toMatchObject(expected: Record<string, unknown>): Promise<unknown> };
  };
}

/** A store under test that can be closed and opened again over the same data. */
export interface Reopenable<Store> {
  /** The store as it is after a new start. Called for the first start too. */
  open(): Promise<Store>;
  /** Removes the data. */
  dispose(): Promise<void>;
}
