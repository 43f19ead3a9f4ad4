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

/** What the system has no more of, by errno. */
export const exhaustions: Readonly<Record<string, string>> = {
  EMFILE: "this process has too many files open",
  ENFILE: "this machine has too many files open",
};

/**
 * OVERLOADED when the system had no more of something, which is no fault of the program and passes; undefined for every
 * other error. Nobody knows how far the operation came.
 */
export function exhaustionOf(error: unknown, operation: string): BlixardError | undefined {
  const exhausted = exhaustions[systemErrorCodeOf(error) ?? ""];
  if (exhausted === undefined) return undefined;
  return new BlixardError("OVERLOADED", `${operation}: ${exhausted}`, {
    hint: "Try again in a moment. If it goes on, allow the node more open files (ulimit -n).",
    outcome: "unknown",
    cause: error,
  });
}

/** Wraps a thrown value once at a boundary; a BlixardError passes through unchanged. */
export function toBlixardError(error: unknown, code: ErrorCode, operation: string): BlixardError {
  if (isBlixardError(error)) return error;
  const exhaustion = code === "INTERNAL" ? exhaustionOf(error, operation) : undefined;
  if (exhaustion !== undefined) return exhaustion;
  return new BlixardError(code, `${operation}: ${messageOf(error)}`, { cause: error });
}

/** What the operating system says when this user, or this place, is the wrong one: nothing is broken. */
const setUpErrnos: readonly string[] = [
  "EACCES",
  "EPERM",
  "EROFS",
  "EEXIST",
  "ENOTDIR",
  "EISDIR",
  "ELOOP",
  "ENAMETOOLONG",
];

/** The errno (`EACCES`) of an error of the operating system; undefined for every other error, whatever its `code`. */
export function errnoOf(error: unknown): string | undefined {
  const code = systemErrorCodeOf(error);
  return code !== undefined && typeof (error as { errno?: unknown }).errno === "number" ? code : undefined;
}

/**
 * What an error at a file of a data directory means; a BlixardError passes through unchanged. It is never damage: of
 * that only contents tell. DATA_DIR_INVALID when another user or place would do, else STORAGE_FAILED; `details.errno`.
 */
export function fileErrorOf(error: unknown, operation: string): BlixardError {
  if (isBlixardError(error)) return error;
  const errno = errnoOf(error);
  const options = { cause: error, ...(errno === undefined ? {} : { details: { errno } }) };
  const message = `${operation}: ${messageOf(error)}`;
  if (errno === undefined || !setUpErrnos.includes(errno)) {
    return new BlixardError("STORAGE_FAILED", message, {
      ...options,
      hint: "Check the free space and the health of the disk, then start the node again.",
    });
  }
  return new BlixardError("DATA_DIR_INVALID", message, {
    ...options,
    hint: "Choose another --data-dir, or see to it that this user can read and write everything in it.",
  });
}
