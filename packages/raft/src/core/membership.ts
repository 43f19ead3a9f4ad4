/**
 * Taking a configuration into use: by an applied change, or with a snapshot.
 */
import { brokenInvariant, changeMembership, type Membership, restoreMembership } from "./conf-change.ts";
import { senderOf } from "./messages.ts";
import type { Raft } from "./raft.ts";
import { broadcastAppend, ignore, probeMembers } from "./replication.ts";
import { becomeFollower } from "./roles.ts";
import { type ConfChange, type ConfState, type Message, noNode, type Snapshot } from "./types.ts";

/** Puts an applied change into effect. @throws CONF_CHANGE_INVALID, with nothing changed */
export function applyConfChange(raft: Raft, change: ConfChange): ConfState {
  const { tracker, log } = raft;
  const { config, progress, options } = tracker;
  return switchTo(raft, changeMembership({ config, progress, options, lastIndex: log.lastIndex }, change));
}

/** A follower's answer to MsgSnap. */
export function handleSnapshot(raft: Raft, message: Message): void {
  const { snapshot } = message;
  const restored = snapshot !== undefined && restore(raft, message, snapshot);
  if (snapshot !== undefined) {
    const { index, term } = snapshot;
    raft.emit({ type: restored ? "snapshotRestored" : "snapshotIgnored", index, term });
  }
  const index = restored ? raft.log.lastIndex : raft.log.committed;
  raft.send("MsgAppResp", senderOf(message), { index });
}

/** Replaces the log and the configuration; false when the snapshot is of no use here. */
function restore(raft: Raft, message: Message, snapshot: Snapshot): boolean {
  const { index, term, confState } = snapshot;
  if (index <= raft.log.committed) return false;
  const sound = Number.isSafeInteger(index) && Number.isSafeInteger(term) && term >= 0;
  const broken = sound ? brokenInvariant(confState) : "the place of its snapshot is none";
  if (broken !== undefined) {
    ignore(raft, message, broken);
    return false;
  }
  const { voters, learners, votersOutgoing } = confState;
  const member = voters.includes(raft.id) || learners.includes(raft.id) || votersOutgoing.includes(raft.id);
  if (!member) return false;
  if (raft.log.matches(index, term)) {
    // The log holds what the snapshot does, so only the commit index has something to learn.
    raft.log.commitTo(index);
    return false;
  }
  raft.log.restore(snapshot);
  switchTo(raft, restoreMembership(confState, raft.log.lastIndex, raft.tracker.options));
  return true;
}

function switchTo(raft: Raft, membership: Membership): ConfState {
  const { tracker } = raft;
  const { config } = membership;
  tracker.replace(config, membership.progress);
  raft.emit({ type: "configurationChanged", confState: config });
  if (raft.role !== "StateLeader") return config;
  const own = tracker.get(raft.id);
  if (own === undefined || own.learner) {
    if (raft.config.stepDownOnRemoval) becomeFollower(raft, raft.term, noNode);
    return config;
  }
  if (config.voters.length === 0) return config;
  // A smaller quorum may have committed more; and new members need not wait for a heartbeat.
  if (raft.maybeCommit()) broadcastAppend(raft);
  else probeMembers(raft);
  if (raft.leadTransferee !== noNode && !tracker.isVoter(raft.leadTransferee)) {
    raft.emit({ type: "transferAborted", to: raft.leadTransferee });
    raft.leadTransferee = noNode;
  }
  return config;
}
