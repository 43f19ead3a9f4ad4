/** The errors that a proposal can end with. */
import { BlixardError, notApplied } from "@blixard/common";
import { type LogIndex, type NodeId, noNode, type SoftState } from "../core/types.ts";
import type { ProposalRefusalCode, ProposalVerdict } from "../ports.ts";

export function notLeader(leaderId: NodeId): BlixardError {
  const where = leaderId === 0 ? "no leader is known" : `node ${leaderId} leads`;
  return notApplied("NOT_LEADER", `this node does not lead; ${where}`, {
    details: { leaderId },
  });
}

/** The error for a proposal that the core dropped for `reason`. */
export function dropped(reason: string | undefined, { role, lead }: SoftState): BlixardError {
  const outcome = "not_applied";
  if (reason === "transferring") {
    return new BlixardError("PROPOSAL_DROPPED", "leadership is being handed over", { outcome });
  }
  if (reason === "uncommitted_limit") return overloaded("too many bytes are not committed yet");
  return notLeader(role === "StateLeader" ? noNode : lead);
}

export function changeRefused(reason: string): BlixardError {
  const message = `the configuration change is refused: ${reason.replaceAll("_", " ")}`;
  const hint = "One change at a time: try again when the one that is under way is applied.";
  return notApplied("CONFLICT", message, {
    ...(reason === "change_pending" ? { hint } : {}),
  });
}

export function outcomeUnknown(reason: string, leaderId: NodeId | undefined): BlixardError {
  return new BlixardError("OUTCOME_UNKNOWN", `${reason} before the proposal was applied here`, {
    outcome: "unknown",
    hint: "Send the same request id again: it is applied at most once.",
    ...(leaderId === undefined ? {} : { details: { leaderId } }),
  });
}

export function overwritten(index: LogIndex): BlixardError {
  return notApplied("PROPOSAL_DROPPED", `another leader put its own entry at ${index}`);
}

export function overloaded(reason: string): BlixardError {
  return notApplied("OVERLOADED", reason, {
    hint: "Send fewer requests at a time, or wait and try again.",
  });
}

const quorumHint = "Start the voters that are down first, or force the change.";

export function quorumAtRisk(active: readonly NodeId[], needed: number): BlixardError {
  const message = `after this change ${needed} voters must answer, but only ${active.length} do: ${active.join(", ")}`;
  return notApplied("QUORUM_AT_RISK", message, {
    hint: quorumHint,
  });
}

const refusalCodes: readonly ProposalRefusalCode[] = [
  "NOT_LEADER",
  "PROPOSAL_DROPPED",
  "OVERLOADED",
  "CONFLICT",
  "QUORUM_AT_RISK",
  "INVALID_ARGUMENT",
];

/** What the leader tells a node whose proposal it did not take. */
export function refusalOf(error: BlixardError, leaderId: NodeId): ProposalVerdict {
  const code = refusalCodes.find((known) => known === error.code) ?? "PROPOSAL_DROPPED";
  return { type: "refused", code, reason: error.message, leaderId };
}

export function refusalError(verdict: Extract<ProposalVerdict, { type: "refused" }>): BlixardError {
  const { code, reason, leaderId } = verdict;
  const hint = code === "QUORUM_AT_RISK" ? { hint: quorumHint } : {};
  return notApplied(code, reason, { details: { leaderId }, ...hint });
}
