/** `ifMatchIndex`: a change that only holds for the object as its caller saw it. */
import type { Command } from "@blixard/protocol";
import { refuse } from "./outcomes.ts";
import type { Outcome } from "./types.ts";

/** The refusal when `command` expects another index than the one `what` was last changed at; 0 stands for absent. */
export function preconditionFailed(command: Command, what: string, changedIndex: number): Outcome | undefined {
  if (command.ifMatchIndex === undefined || command.ifMatchIndex === changedIndex) return undefined;
  const now = changedIndex === 0 ? `${what} does not exist` : `${what} was last changed at index ${changedIndex}`;
  return refuse("PRECONDITION_FAILED", `${now}, not at ${command.ifMatchIndex}`, "Read it again, then decide again.");
}
