/** Errors of the system and of libraries as errors for people and programs: wrapped once, at a boundary, in words. */
import type { ErrorCode } from "./error-codes.ts";
import { BlixardError, changedError, errnoOf, isBlixardError, systemErrorCodeOf } from "./errors.ts";
import { reasonOf } from "./reasons.ts";

/** What the system has no more of at the moment: nothing is broken, and it passes. */
const exhaustionErrnos: readonly string[] = ["EMFILE", "ENFILE"];
const exhaustionHint =
  "Try again in a moment. If it goes on, allow the node more open files: ulimit -n, LimitNOFILE= in systemd.";

/**
 * OVERLOADED when the system had no more of something, which is no fault of the program and passes; undefined for every
 * other error. Nobody knows how far the operation came.
 */
export function exhaustionOf(error: unknown, operation: string): BlixardError | undefined {
  const code = systemErrorCodeOf(error);
  if (code === undefined || !exhaustionErrnos.includes(code)) return undefined;
  return new BlixardError("OVERLOADED", `${operation}: ${reasonOf(error)}`, {
    hint: exhaustionHint,
    outcome: "unknown",
    cause: error,
  });
}

/** Errnos of the network; all others that are known are about files. */
const networkErrnos: readonly string[] = [
  "ECONNREFUSED",
  "ECONNRESET",
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "EAI_AGAIN",
];

/**
 * What an error of the system means that nobody wrapped where it happened: OVERLOADED, UNREACHABLE, or what `fileErrorOf`
 * says; undefined where no cause is known. Nobody knows how far the operation came.
 */
export function knownCauseOf(error: unknown, operation: string): BlixardError | undefined {
  const exhaustion = exhaustionOf(error, operation);
  if (exhaustion !== undefined || isBlixardError(error)) return exhaustion;
  if (networkErrnos.includes(systemErrorCodeOf(error) ?? "")) {
    return new BlixardError("UNREACHABLE", `${operation}: ${reasonOf(error)}`, { cause: error, outcome: "unknown" });
  }
  if (errnoOf(error) === undefined) return undefined;
  return changedError(fileErrorOf(error, operation), { outcome: "unknown" });
}

/** Wraps a thrown value once at a boundary; a BlixardError passes through unchanged. */
export function toBlixardError(error: unknown, code: ErrorCode, operation: string): BlixardError {
  if (isBlixardError(error)) return error;
  const known = code === "INTERNAL" ? knownCauseOf(error, operation) : undefined;
  if (known !== undefined) return known;
  return new BlixardError(code, `${operation}: ${reasonOf(error)}`, { cause: error });
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

/**
 * What an error at a file of a data directory means; a BlixardError passes through unchanged. It is never damage: of
 * that only contents tell. DATA_DIR_INVALID when another user or place would do, OVERLOADED when
 * there are too many open files, else STORAGE_FAILED; `details.errno`.
 */
export function fileErrorOf(error: unknown, operation: string): BlixardError {
  if (isBlixardError(error)) return error;
  const errno = errnoOf(error);
  const options = { cause: error, ...(errno === undefined ? {} : { details: { errno } }) };
  const message = `${operation}: ${reasonOf(error)}`;
  if (errno !== undefined && exhaustionErrnos.includes(errno)) {
    return new BlixardError("OVERLOADED", message, { ...options, hint: exhaustionHint });
  }
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
