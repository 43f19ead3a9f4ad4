/** The status that RaftNode publishes. */
import { asLogIndex, type HardState, type NodeId, type SoftState } from "./core/types.ts";
import type { Applier } from "./disk/applier.ts";
import type { LogCache } from "./disk/log-cache.ts";
import type { RaftNodeStatus } from "./raft-node-types.ts";

export interface StatusSource {
  readonly id: NodeId;
  readonly softState: SoftState;
  readonly hardState: HardState;
  readonly cache: LogCache;
  readonly applier: Pick<Applier<unknown>, "applied" | "confIndex">;
}

export function statusOf({ id, softState, hardState, cache, applier }: StatusSource): RaftNodeStatus {
  const { applied, confIndex } = applier;
  const { lead, role } = softState;
  const { term, commit } = hardState;
  return {
    id,
    role,
    term,
    leaderId: lead,
    commitIndex: commit,
    appliedIndex: applied.index,
    lastLogIndex: cache.lastIndex(),
    lastLogTerm: cache.lastTerm(),
    snapshotIndex: cache.newestSnapshot?.index ?? asLogIndex(0),
    confState: applied.confState,
    confIndex,
    ready: role === "StateLeader" && applied.term === term,
  };
}

/** True when nothing changed since `before`. It runs after each turn of the loop, so it allocates nothing. */
export function isCurrent(before: RaftNodeStatus, { softState, hardState, cache, applier }: StatusSource): boolean {
  const { applied } = applier;
  return (
    before.commitIndex === hardState.commit &&
    before.appliedIndex === applied.index &&
    before.lastLogIndex === cache.lastIndex() &&
    before.term === hardState.term &&
    before.role === softState.role &&
    before.leaderId === softState.lead &&
    before.lastLogTerm === cache.lastTerm() &&
    before.snapshotIndex === (cache.newestSnapshot?.index ?? 0) &&
    before.confState === applied.confState &&
    before.confIndex === applier.confIndex &&
    before.ready === (softState.role === "StateLeader" && applied.term === hardState.term)
  );
}
