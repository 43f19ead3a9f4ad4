/** A broken invariant: the program is wrong, not its input. The process that catches one must stop. */
export class InvariantError extends Error {
  readonly code = "INVARIANT";

  constructor(message: string) {
    super(`invariant broken: ${message}`);
    this.name = "InvariantError";
  }
}

/** Throws {@link InvariantError} when `condition` is false. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}

/** Asserts that `value` is an integer between 0 and 2^53 - 1. */
export function assertSafeInteger(value: number, name: string): void {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new InvariantError(`${name} must be a safe integer of at least 0, got ${value}`);
  }
}

/** Limits with their names, as `{ chunkBytes }`: one, as a rule. */
export type NamedLimit = Readonly<Record<string, number>>;

/**
 * Asserts that a limit is at most another one. It stands beside the limits and runs when their module is loaded, so
 * that a value that contradicts another stops the program, and `npm run check`, in words that name both.
 */
export function assertAtMost(lower: NamedLimit, upper: NamedLimit, why: string): void {
  for (const [lowerName, lowerValue] of Object.entries(lower)) {
    for (const [upperName, upperValue] of Object.entries(upper)) {
      // Not the opposite comparison, which a limit that is no number would pass.
      const holds = lowerValue <= upperValue;
      assert(holds, `${lowerName} (${lowerValue}) is more than ${upperName} (${upperValue}), but ${why}`);
    }
  }
}

/** Asserts that a limit is less than another one, as {@link assertAtMost} does. */
export function assertBelow(lower: NamedLimit, upper: NamedLimit, why: string): void {
  assertAtMost(lower, upper, why);
  for (const [lowerName, lowerValue] of Object.entries(lower)) {
    for (const [upperName, upperValue] of Object.entries(upper)) {
      assert(lowerValue < upperValue, `${lowerName} and ${upperName} are both ${lowerValue}, but ${why}`);
    }
  }
}
