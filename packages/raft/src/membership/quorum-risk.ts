/** Tells whether a configuration change would leave a group without a quorum of active voters. */
import { type BlixardError, errorCodeOf } from "@blixard/common";
import { changeMembership, restoreMembership } from "../core/conf-change.ts";
import { asLogIndex, type ConfChange, type ConfState, type NodeId } from "../core/types.ts";
import { quorumAtRisk } from "../proposals/proposal-errors.ts";

const anyProgress = { inflightMessagesMax: 1, inflightBytesMax: 1 };

/**
 * Returns the refusal, or undefined when each half of the resulting configuration has a majority of active voters. A
 * change that keeps the same voters puts nothing at risk. An impossible change is left to the core, which says why.
 */
export function quorumRisk(
  before: ConfState,
  change: ConfChange,
  isActive: (id: NodeId) => boolean,
): BlixardError | undefined {
  const after = configurationAfter(before, change);
  if (after === undefined || (sameIds(before.voters, after.voters) && after.votersOutgoing.length === 0)) {
    return undefined;
  }
  for (const half of [after.voters, after.votersOutgoing]) {
    if (half.length === 0) continue;
    const active = half.filter(isActive);
    const needed = Math.floor(half.length / 2) + 1;
    if (active.length < needed) return quorumAtRisk(active, needed);
  }
  return undefined;
}

function configurationAfter(before: ConfState, change: ConfChange): ConfState | undefined {
  try {
    const base = restoreMembership(before, asLogIndex(0), anyProgress);
    return changeMembership({ ...base, lastIndex: asLogIndex(0), options: anyProgress }, change).config;
  } catch (error) {
    if (errorCodeOf(error) !== "CONF_CHANGE_INVALID") throw error;
    return undefined;
  }
}

const sameIds = (a: readonly NodeId[], b: readonly NodeId[]): boolean =>
  a.length === b.length && a.every((id) => b.includes(id));
