/**
 * The next step that brings the Raft configuration to what the node records want: a pure function, one change at a
 * time, so that two of them never overlap.
 *
 *     admitted -> learner -> (caught up) -> voter       where the role votes: voter, witness
 *     leaving  -> out of the configuration -> record removed
 *     rejoining (came back without its store) -> out of the configuration -> admitted, as above
 *
 * RaftNode.add is the same way for a caller who waits for one member on one leader. Here nobody waits: the records say
 * what is wanted, whoever leads takes the next step, and a member that is slow to catch up keeps no other one waiting.
 */
import type { NodeRecord } from "@blixard/protocol";
import type { ConfState, ProgressStatus } from "@blixard/raft";

export interface MembershipView {
  readonly selfId: number;
  readonly nodes: readonly NodeRecord[];
  readonly confState: ConfState;
  readonly progress: readonly ProgressStatus[];
  readonly commitIndex: number;
  /** Entries that a learner may lag behind and still be promoted. */
  readonly promotionLagEntries: number;
  /**
   * The index up to which the log of each learner must reach before it is promoted: the commit index when this leader
   * first saw it answer. The node's admission is below that index. A voter that has not applied its admission must not
   * vote yet: it would count in every quorum, and help in none.
   */
  readonly catchUpTo: ReadonlyMap<number, number>;
}

export type MembershipStep =
  | { readonly type: "configure"; readonly op: "addVoter" | "addLearner" | "remove"; readonly nodeId: number }
  | { readonly type: "removeRecord"; readonly nodeId: number }
  /** The member that lost its store is out of the configuration, so the node can come back as a learner. */
  | { readonly type: "readmit"; readonly nodeId: number }
  /** This leader has to leave or to stop voting, and only another leader can take it out. */
  | { readonly type: "handOver" };

export function planMembership(view: MembershipView): MembershipStep | undefined {
  const { confState } = view;
  // There is nothing to plan while a change is under way, or before the records of the members are applied.
  if (confState.votersOutgoing.length > 0) return undefined;
  if (!view.nodes.some((node) => node.id === view.selfId)) return undefined;
  const voters = new Set<number>(confState.voters);
  const learners = new Set<number>(confState.learners);
  const configured = [...voters, ...learners].sort((a, b) => a - b);
  const nodes = [...view.nodes].sort((a, b) => a.id - b.id);
  const byId = new Map(nodes.map((node) => [node.id, node]));
  for (const id of configured) {
    const node = byId.get(id);
    if (node !== undefined && !node.leaving && !node.rejoining) continue;
    return id === view.selfId ? { type: "handOver" } : { type: "configure", op: "remove", nodeId: id };
  }
  for (const node of nodes) {
    if (node.leaving) return { type: "removeRecord", nodeId: node.id };
    if (node.rejoining) return { type: "readmit", nodeId: node.id };
  }
  for (const node of nodes) {
    const wanted = wantedRole(node);
    if (wanted === "learner" && voters.has(node.id)) {
      if (node.id === view.selfId) return { type: "handOver" };
      return { type: "configure", op: "addLearner", nodeId: node.id };
    }
    if (wanted === "voter" && learners.has(node.id) && caughtUp(view, node.id)) {
      return { type: "configure", op: "addVoter", nodeId: node.id };
    }
  }
  for (const node of nodes) {
    if (voters.has(node.id) || learners.has(node.id)) continue;
    return { type: "configure", op: "addLearner", nodeId: node.id };
  }
  return undefined;
}

/** The role that the Raft configuration has to give to a node. */
function wantedRole(node: NodeRecord): "voter" | "learner" {
  switch (node.role) {
    case "voter":
    case "witness":
      return "voter";
    case "learner":
    case "worker":
      return "learner";
    default:
      return node.role satisfies never;
  }
}

function caughtUp(view: MembershipView, nodeId: number): boolean {
  const peer = view.progress.find((candidate) => candidate.id === nodeId);
  const target = view.catchUpTo.get(nodeId);
  if (peer === undefined || target === undefined || !peer.recentActive) return false;
  return peer.match >= target && peer.match + view.promotionLagEntries >= view.commitIndex;
}
