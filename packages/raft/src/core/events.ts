/**
 * What the core tells about itself. Programs match on `type`; people read {@link describeRaftEvent}.
 */
import type { ConfState, LogIndex, MessageType, NodeId, Term } from "./types.ts";

/** Why a leader put an empty entry in the place of a configuration change. */
export type ConfChangeRefusal = "change_pending" | "must_leave_joint" | "not_joint";

export type RaftEvent =
  | { readonly type: "becameFollower"; readonly term: Term; readonly lead: NodeId }
  | { readonly type: "becamePreCandidate"; readonly term: Term }
  | { readonly type: "becameCandidate"; readonly term: Term }
  | { readonly type: "becameLeader"; readonly term: Term }
  | {
      readonly type: "campaignRefused";
      readonly reason: "leader" | "not_promotable" | "conf_change_unapplied";
    }
  | { readonly type: "voteAnswered"; readonly candidate: NodeId; readonly term: Term; readonly granted: boolean }
  | { readonly type: "voteIgnored"; readonly candidate: NodeId; readonly term: Term }
  | { readonly type: "quorumLost"; readonly term: Term }
  | {
      readonly type: "proposalDropped";
      readonly reason: "no_leader" | "forwarding_disabled" | "removed" | "transferring" | "uncommitted_limit";
    }
  | { readonly type: "confChangeRefused"; readonly index: LogIndex; readonly reason: ConfChangeRefusal }
  | { readonly type: "configurationChanged"; readonly confState: ConfState }
  | { readonly type: "messageIgnored"; readonly message: MessageType; readonly from: string; readonly reason: string }
  | { readonly type: "snapshotSent"; readonly to: NodeId; readonly index: LogIndex; readonly term: Term }
  | {
      readonly type: "snapshotSkipped";
      readonly to: NodeId;
      readonly reason: "inactive" | "unavailable";
    }
  | { readonly type: "snapshotRestored"; readonly index: LogIndex; readonly term: Term }
  | { readonly type: "snapshotIgnored"; readonly index: LogIndex; readonly term: Term }
  | { readonly type: "transferStarted"; readonly to: NodeId }
  | { readonly type: "transferAborted"; readonly to: NodeId }
  | { readonly type: "leaderForgotten"; readonly lead: NodeId }
  | { readonly type: "readDropped"; readonly reason: "no_leader" | "too_many" };

export type RaftEventLevel = "DEBUG" | "INFO" | "WARN" | "ERROR";

const levels: Partial<Record<RaftEvent["type"], RaftEventLevel>> = {
  campaignRefused: "WARN",
  quorumLost: "WARN",
  proposalDropped: "DEBUG",
  messageIgnored: "DEBUG",
  snapshotSkipped: "DEBUG",
  readDropped: "WARN",
};

export const levelOf = (event: RaftEvent): RaftEventLevel => levels[event.type] ?? "INFO";

/** One line for people: the words of the type, then the fields. */
export function describeRaftEvent(id: NodeId, event: RaftEvent): string {
  const { type, ...fields } = event;
  const words = type.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  const details = Object.entries(fields).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return [`node ${id}: ${words}`, ...details].join(" ");
}
