/**
 * The roles of a node and the transitions between them (paper figure 4, thesis section 9.6).
 *
 *                    times out                   majority would vote
 *      +----------+ ----------> +--------------+ -------------> +-----------+
 *      | follower |             | precandidate |                | candidate | --+ times out,
 *      +----------+ <---------- +--------------+                +-----------+ <-+ new election
 *        ^  ^   |     lost, or a leader or higher term seen         |    |
 *        |  |   +---- times out without pre-vote, or MsgTimeoutNow->+    |
 *        |  +------------------ lost, or a leader or higher term seen ---+
 *        |                                                               | majority voted
 *        |   higher term seen, quorum lost, or removed                   v
 *        +----------------------------------------------------------- leader
 *
 * A node outside the configuration, and a learner, stay followers. A precandidate keeps its term and vote.
 */
import { assert } from "@blixard/common";
import type { Raft } from "./raft.ts";
import { asTerm, type NodeId, noNode, type Term } from "./types.ts";

export const nextTerm = (term: Term): Term => asTerm(term + 1);

export function becomeFollower(raft: Raft, term: Term, lead: NodeId): void {
  raft.reset(term);
  raft.lead = lead;
  raft.role = "StateFollower";
  raft.emit({ type: "becameFollower", term, lead });
}

/** Asks whether an election could be won. The term and the vote stay: a lost pre-vote leaves no trace. */
export function becomePreCandidate(raft: Raft): void {
  assert(raft.role !== "StateLeader", "a leader must not become a pre-candidate");
  raft.tracker.resetVotes();
  raft.lead = noNode;
  raft.role = "StatePreCandidate";
  raft.emit({ type: "becamePreCandidate", term: raft.term });
}

export function becomeCandidate(raft: Raft): void {
  assert(raft.role !== "StateLeader", "a leader must not become a candidate");
  raft.reset(nextTerm(raft.term));
  raft.vote = raft.id;
  raft.role = "StateCandidate";
  raft.emit({ type: "becameCandidate", term: raft.term });
}

export function becomeLeader(raft: Raft): void {
  assert(raft.role === "StateCandidate", "only a candidate becomes the leader");
  raft.reset(raft.term);
  raft.lead = raft.id;
  raft.role = "StateLeader";
  const own = raft.tracker.get(raft.id);
  if (own !== undefined) {
    own.becomeReplicate();
    own.recentActive = true;
  }
  // A change may be anywhere in the tail that we inherit. Waiting for all of it to be applied is cheaper than
  // looking for one.
  raft.pendingConfIndex = raft.log.lastIndex;
  // An entry of the own term: only with it do the entries of earlier terms commit (paper section 5.4.2).
  const appended = raft.appendProposals([{ kind: "normal", data: new Uint8Array() }]);
  assert(appended, "the first entry of a leader was refused");
  raft.emit({ type: "becameLeader", term: raft.term });
}
