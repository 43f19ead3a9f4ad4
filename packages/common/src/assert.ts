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
