/** What is known about a write that failed: it has no effect, or nobody can tell yet. */
export type ErrorOutcome = "not_applied" | "unknown";

export interface BlixardErrorOptions {
  /** What the person who reads the error can do next, as one sentence. */
  readonly hint?: string;
  readonly cause?: unknown;
  readonly outcome?: ErrorOutcome;
  /** Plain data for programs, for example `{ leaderId: 2 }`. It crosses the wire. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/**
 * An error that people and programs can act on. Decide on `code`, never on `instanceof` or on the message:
 * errors cross realms and the wire. The closed set of codes stands in `@blixard/protocol`.
 */
export class BlixardError extends Error {
  readonly code: string;
  readonly hint: string | undefined;
  readonly outcome: ErrorOutcome | undefined;
  readonly details: Readonly<Record<string, unknown>> | undefined;

  constructor(code: string, message: string, options: BlixardErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "BlixardError";
    this.code = code;
    this.hint = options.hint;
    this.outcome = options.outcome;
    this.details = options.details;
  }
}

export function isBlixardError(error: unknown): error is BlixardError {
  return typeof error === "object" && error !== null && (error as { name?: unknown }).name === "BlixardError";
}

/** The `code` of any thrown value, or undefined when it has none. */
export function errorCodeOf(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null) return undefined;
  const { code } = error as { code?: unknown };
  return typeof code === "string" ? code : undefined;
}

/** The message of any thrown value. */
export function messageOf(error: unknown): string {
  if (typeof error === "object" && error !== null && "message" in error) return String(error.message);
  return String(error);
}

/** Wraps a thrown value once at a boundary; a BlixardError passes through unchanged. */
export function toBlixardError(error: unknown, code: string, operation: string): BlixardError {
  if (isBlixardError(error)) return error;
  return new BlixardError(code, `${operation}: ${messageOf(error)}`, { cause: error });
}
