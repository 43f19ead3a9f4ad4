/**
 * Majorities, and pairs of majorities during joint consensus (thesis section 4.3): a decision needs both halves.
 * An empty half agrees with everything, so that a simple configuration is a joint one with an empty second half.
 */
import type { LogIndex, NodeId } from "./types.ts";

export type VoteResult = "VotePending" | "VoteLost" | "VoteWon";

/** The index that a voter has acknowledged, or undefined when it has not reported. */
export type AckedOf = (id: NodeId) => number | undefined;
/** How a voter voted, or undefined when it has not. */
export type VoteOf = (id: NodeId) => boolean | undefined;

/** Reused by every call: the core is single-threaded and a commit index is computed for each acknowledgement. */
const sorted: number[] = [];

/** The highest index that a majority of both halves has acknowledged; Infinity when both halves are empty. */
export function jointCommittedIndex(incoming: readonly NodeId[], outgoing: readonly NodeId[], acked: AckedOf): number {
  const ofIncoming = majorityCommittedIndex(incoming, acked);
  return outgoing.length === 0 ? ofIncoming : Math.min(ofIncoming, majorityCommittedIndex(outgoing, acked));
}

/** Won when both halves are won, lost as soon as one of them is lost. */
export function jointVoteResult(incoming: readonly NodeId[], outgoing: readonly NodeId[], votes: VoteOf): VoteResult {
  const ofIncoming = majorityVoteResult(incoming, votes);
  const ofOutgoing = majorityVoteResult(outgoing, votes);
  if (ofIncoming === ofOutgoing) return ofIncoming;
  return ofIncoming === "VoteLost" || ofOutgoing === "VoteLost" ? "VoteLost" : "VotePending";
}

/** {@link jointCommittedIndex} over a map of acknowledged indexes. */
export const committedIndex = (
  incoming: readonly NodeId[],
  outgoing: readonly NodeId[],
  acked: ReadonlyMap<NodeId, LogIndex>,
): LogIndex => jointCommittedIndex(incoming, outgoing, (id) => acked.get(id)) as LogIndex;

/** {@link jointVoteResult} over a map of votes. */
export const voteResult = (
  incoming: readonly NodeId[],
  outgoing: readonly NodeId[],
  votes: ReadonlyMap<NodeId, boolean>,
): VoteResult => jointVoteResult(incoming, outgoing, (id) => votes.get(id));

const majorityOf = (voters: readonly NodeId[]): number => Math.floor(voters.length / 2) + 1;

function majorityCommittedIndex(voters: readonly NodeId[], acked: AckedOf): number {
  const count = voters.length;
  if (count === 0) return Number.POSITIVE_INFINITY;
  // Insertion sort, descending: voters are few, and nothing is allocated.
  let filled = 0;
  for (const id of voters) {
    const index = acked(id) ?? 0;
    let at = filled++;
    for (; at > 0; at--) {
      const above = sorted[at - 1] ?? 0;
      if (above >= index) break;
      sorted[at] = above;
    }
    sorted[at] = index;
  }
  return sorted[majorityOf(voters) - 1] ?? 0;
}

function majorityVoteResult(voters: readonly NodeId[], votes: VoteOf): VoteResult {
  if (voters.length === 0) return "VoteWon";
  let granted = 0;
  let missing = 0;
  for (const id of voters) {
    const vote = votes(id);
    if (vote === undefined) missing++;
    else if (vote) granted++;
  }
  const needed = majorityOf(voters);
  if (granted >= needed) return "VoteWon";
  return granted + missing >= needed ? "VotePending" : "VoteLost";
}
