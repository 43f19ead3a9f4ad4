/**
 * Damage of the log, told apart from all other damage: what a node has promised stands in the log alone, so a node whose
 * log is not whole may take no part with it, and the others can give it everything else.
 */
import { changedError, errorCodeOf, isBlixardError } from "@blixard/common";

/** Marks STORAGE_CORRUPT as damage of the log; every other error passes through as it is. */
export async function inLog<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isBlixardError(error) || error.code !== "STORAGE_CORRUPT") throw error;
    throw changedError(error, { cause: error.cause, details: { ...error.details, part: "log" } });
  }
}

/** True when the log itself proves that it is not what was written: never for an error of the system. */
export function isLogDamage(error: unknown): boolean {
  if (errorCodeOf(error) !== "STORAGE_CORRUPT") return false;
  return (error as { details?: { part?: unknown } }).details?.part === "log";
}
