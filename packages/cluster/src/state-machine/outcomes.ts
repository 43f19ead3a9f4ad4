/** Short forms of what a command may lead to. */
import type { ErrorCode } from "@blixard/common";
import type { CommandResult } from "@blixard/protocol";
import type { Change, Outcome } from "./types.ts";

export function done(value: unknown, changes: readonly Change[] = []): Outcome {
  return { result: { ok: true, value }, changes };
}

export function refuse(code: ErrorCode, message: string, hint?: string): Outcome {
  return { result: refusal(code, message, hint), changes: [] };
}

export function refusal(code: ErrorCode, message: string, hint?: string): CommandResult {
  return hint === undefined ? { ok: false, code, message } : { ok: false, code, message, hint };
}

/** Why a key is refused for good. */
export const bannedWords = {
  message: "this key is banned from the cluster: somebody else may hold it",
  hint: "It never comes back. The machine joins with a new ticket and an empty data directory, which gives it a new key.",
} as const;

export function refuseBanned(): Outcome {
  return refuse("REMOVED", bannedWords.message, bannedWords.hint);
}

export function volumeNotFound(name: string): Outcome {
  return refuse("VOLUME_NOT_FOUND", `there is no volume ${name}`, "List the volumes with: blixard volume list");
}

export function nodeNotFound(nodeId: number): Outcome {
  return refuse("NODE_NOT_FOUND", `there is no node ${nodeId}`, "List the nodes with: blixard nodes list");
}
