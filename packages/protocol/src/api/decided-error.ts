/** A refusal of the state machine: it answers the request id, and so holds for every attempt that was made with it. */
import type { BlixardError } from "@blixard/common";

/** The details of such an error. `index` is that of the log entry at which the state machine refused. */
export function decidedAt(index: number): { readonly decidedIndex: number } {
  return { decidedIndex: index };
}

/** True for a refusal of the state machine. Any other says nothing about an earlier attempt whose answer was lost. */
export function isDecided({ details }: BlixardError): boolean {
  return typeof details?.["decidedIndex"] === "number";
}
