/** Whether a configuration change would leave a group whose voters that answer are no quorum. */
import { type BlixardError, errorCodeOf } from "@blixard/common";
import { changeMembership, restoreMembership } from "../core/conf-change.ts";
import { asLogIndex, type ConfChange, type ConfState, type NodeId } from "../core/types.ts";
import { quorumAtRisk } from "../proposals/proposal-errors.ts";

const anyProgress = { inflightMessagesMax: 1, inflightBytesMax: 1 };

/**
 * The refusal, or undefined where each half of the configuration that results keeps a majority of voters for which
 * `isActive`. A change that leaves the voters as they are puts nothing at risk; one that is not possible at all is
 * left to the core, which says why.
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
