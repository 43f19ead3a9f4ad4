/** How a source says on the wire that it does not give what it was asked for. */
import { BlixardError, errorCodeOf } from "@blixard/common";

/** What the codes of errors are on the wire; anything else is 500. */
const statusOfCode: Readonly<Record<string, number>> = {
  INVALID_ARGUMENT: 400,
  PERMISSION_DENIED: 403,
  NOT_FOUND: 404,
  OVERLOADED: 429,
};

export function statusOf(error: unknown): number {
  return statusOfCode[errorCodeOf(error) ?? ""] ?? 500;
}

export function lost(): BlixardError {
  return new BlixardError("UNREACHABLE", "the source was lost");
}

export function refusalOf(status: number | undefined): BlixardError {
  switch (status) {
    case 403:
      return new BlixardError("PERMISSION_DENIED", "the source does not know this node as a member");
    case 404:
      return new BlixardError("NOT_FOUND", "the source does not hold it");
    case 429:
      return new BlixardError("OVERLOADED", "the source is busy");
    default:
      return new BlixardError("UNREACHABLE", `the source answered with status ${status}`);
  }
}
