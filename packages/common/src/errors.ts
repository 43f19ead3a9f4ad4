import { type ErrorCode, errorCodes } from "./error-codes.ts";

/** What is known about a write that failed: it has no effect, or nobody can tell yet. */
export type ErrorOutcome = "not_applied" | "unknown";

export interface BlixardErrorOptions {
  /** What the person who reads the error can do next, as one sentence. */
  readonly hint?: string | undefined;
  readonly cause?: unknown;
  readonly outcome?: ErrorOutcome | undefined;
  /** Plain data for programs, for example `{ leaderId: 2 }`. It crosses the wire. */
  readonly details?: Readonly<Record<string, unknown>> | undefined;
}

/**
 * An error that people and programs can act on. Decide on `code`, never on `instanceof` or on the message:
 * errors cross realms and the wire.
 */
export class BlixardError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly outcome: ErrorOutcome | undefined;
  readonly details: Readonly<Record<string, unknown>> | undefined;

  constructor(code: ErrorCode, message: string, options: BlixardErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "BlixardError";
    this.code = code;
    this.hint = options.hint;
    this.outcome = options.outcome;
    this.details = options.details;
  }
}

/** An error of a request that certainly changed nothing. */
export function notApplied(
  code: ErrorCode,
  message: string,
  options: Omit<BlixardErrorOptions, "outcome"> = {},
): BlixardError {
  return new BlixardError(code, message, { ...options, outcome: "not_applied" });
}

/** The same error with some of its parts replaced; the first one is its cause. */
export function changedError(error: BlixardError, changes: BlixardErrorOptions): BlixardError {
  const { hint, outcome, details } = error;
  return new BlixardError(error.code, error.message, { hint, outcome, details, cause: error, ...changes });
}

export function isBlixardError(error: unknown): error is BlixardError {
  return typeof error === "object" && error !== null && (error as { name?: unknown }).name === "BlixardError";
}

/** The code of a BlixardError, also of one from another realm; undefined for anything else that was thrown. */
export function errorCodeOf(error: unknown): ErrorCode | undefined {
  return isBlixardError(error) && Object.hasOwn(errorCodes, error.code) ? error.code : undefined;
}

/** The `code` of any thrown value, for errors of Node.js and of libraries (`ENOENT`, `LEVEL_CORRUPTION`). */
export function systemErrorCodeOf(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null) return undefined;
  const { code } = error as { code?: unknown };
  return typeof code === "string" ? code : undefined;
}

/** The message of any thrown value. */
export function messageOf(error: unknown): string {
  if (typeof error === "object" && error !== null && "message" in error) return String(error.message);
  return String(error);
}

/** The errno (`EACCES`) of an error of the operating system; undefined for every other error, whatever its `code`. */
export function errnoOf(error: unknown): string | undefined {
  const code = systemErrorCodeOf(error);
  return code !== undefined && typeof (error as { errno?: unknown }).errno === "number" ? code : undefined;
}
