/** What a command that ended early says of the change that it asked for: whether it may have happened, and what to do. */
import { BlixardError, changedError, type ErrorOutcome, errorCodeOf, isBlixardError } from "@blixard/common";
import type { AskedChange } from "./command-client.ts";

/** The error with the outcome of the change in it, and the next step in its hint. */
export function withOutcome(error: unknown, change: AskedChange | undefined): unknown {
  const code = errorCodeOf(error);
  if (change === undefined || code === undefined || !isBlixardError(error)) return error;
  if (change.state === "refused") return marked(error, "not_applied", error.hint);
  // Only the waiting ended, or something after the change failed in a way of its own.
  const ended = code === "DEADLINE_EXCEEDED" || code === "CANCELLED" || error.outcome === "unknown";
  if (change.state === "done" && !ended) return error;
  const outcome: ErrorOutcome = change.state === "done" ? "unknown" : (error.outcome ?? "unknown");
  const next = outcome === "unknown" ? `Look: ${lookAt(change)}. ${again(change)}` : "The same command again is safe.";
  const said = error.hint !== undefined && !error.hint.includes(lookAt(change)) ? `${error.hint} ${next}` : next;
  return marked(error, outcome, said);
}

/** What was found out of the change that the command asked for; undefined for one that only read. */
export function changeOutcomeOf(error: unknown): ErrorOutcome | undefined {
  const outcome = isBlixardError(error) ? error.details?.[mark] : undefined;
  return outcome === "unknown" || outcome === "not_applied" ? outcome : undefined;
}

/** Nodes say an outcome with every error, those of reads too. */
const mark = "changeOutcome";

function marked(error: BlixardError, outcome: ErrorOutcome, hint: string | undefined): BlixardError {
  return changedError(error, { outcome, hint, details: { ...error.details, [mark]: outcome } });
}

/** The outcome in words. */
export function outcomeText(outcome: ErrorOutcome): string {
  return outcome === "unknown" ? "the change may have happened, or may happen yet" : "nothing was changed";
}

/** How a command ends that was interrupted. */
export function interrupted(): BlixardError {
  return new BlixardError("CANCELLED", "interrupted; what the cluster was asked to do goes on");
}

/** How a command ends that was interrupted while it waited for an operation. */
export function detachedFrom(operationId: string): BlixardError {
  return new BlixardError("CANCELLED", `detached: the operation ${operationId} goes on`, {
    hint: `Wait again: blixard operations wait ${operationId}. End it: blixard operations cancel ${operationId}.`,
  });
}

function again({ name, remembered }: AskedChange): string {
  if (remembered) return "The same command again goes on with what this one did.";
  return name.endsWith(".create")
    ? "What was made and is shown to nobody can be revoked; the same command makes another."
    : "The same command again is safe.";
}

/** The command that shows what became of a change. */
function lookAt({ name, request }: AskedChange): string {
  const { key, name: named, id } = request as { readonly key?: string; readonly name?: string; readonly id?: number };
  const [noun] = name.split(".");
  switch (noun) {
    case "kv":
      return `blixard kv get ${key}`;
    case "vm":
      return `blixard vm get ${named}`;
    case "image":
      return `blixard image get ${named}`;
    case "operation":
      return `blixard operations get ${id}`;
    case "node":
      return `blixard nodes get ${id}`;
    case "ticket":
    case "token":
    case "cert":
      return `blixard ${noun} list`;
    default:
      return "blixard cluster members";
  }
}
