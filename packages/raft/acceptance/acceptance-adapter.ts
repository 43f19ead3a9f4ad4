/**
 * Shows the core to the scenario runner in the shape that it asks for. It is a module of its own, with the default
 * export that the runner imports, and no part of the package's API.
 */
import {
  asLogIndex,
  type ConfChangeBase,
  type ConfChangeOp,
  committedIndex,
  createRaftCore,
  emptyConfState,
  enterJoint,
  leaveJoint,
  type Membership,
  type RaftConfig,
  simpleChange,
  voteResult,
} from "@blixard/raft/core";

/** A conf-change engine without a log around it. */
function confChanger(firstLastIndex = 0) {
  let membership: Membership = { config: emptyConfState(), progress: new Map() };
  const from = (lastIndex: number | undefined): ConfChangeBase => ({
    ...membership,
    lastIndex: asLogIndex(lastIndex ?? firstLastIndex),
    options: { inflightMessagesMax: 10, inflightBytesMax: Number.POSITIVE_INFINITY },
  });
  return {
    simple(changes: readonly ConfChangeOp[], lastIndex?: number): void {
      membership = simpleChange(from(lastIndex), changes);
    },
    enterJoint(autoLeave: boolean, changes: readonly ConfChangeOp[], lastIndex?: number): void {
      membership = enterJoint(from(lastIndex), autoLeave, changes);
    },
    leaveJoint(lastIndex?: number): void {
      membership = leaveJoint(from(lastIndex));
    },
    state: () => ({
      ...membership.config,
      progress: [...membership.progress.values()].map((progress) => progress.status()),
    }),
  };
}

/** etcd's rule for a limit that is not given, which with a `maxSizePerMsg` of 0 holds everything back. */
function createCore(config: RaftConfig) {
  const maxCommittedSizePerReady = config.maxCommittedSizePerReady || config.maxSizePerMsg;
  return createRaftCore({ ...config, ...(maxCommittedSizePerReady === undefined ? {} : { maxCommittedSizePerReady }) });
}

export default { createCore, quorum: { committedIndex, voteResult }, confChanger };
