/** What a node says about itself at once, with or without a quorum. */
import { BlixardError } from "@blixard/common";
import { type Identity, limits, type NodeStatus, type VmRecord } from "@blixard/protocol";
import { encodeEntries } from "@blixard/protocol/peer-messages";
import { asLogIndex } from "@blixard/raft";
import type { Handlers } from "../calls/call-types.ts";
import { votersToAsk } from "../calls/misdirected.ts";
import type { NodeParts } from "../node-parts.ts";
import { memberStatuses } from "../peers/member-statuses.ts";
import { isReachable } from "../peers/reachability.ts";
import { clusterLevel, levelHolders } from "../state-machine/level.ts";
import { nodeKey } from "../state-machine/state.ts";

/** What these methods use of the node. */
type StatusParts = Pick<
  NodeParts,
  "options" | "identity" | "raft" | "transport" | "bulkRoutes" | "storageHealth" | "stateMachine"
>;

type StatusMethods = "identity.get" | "status.get" | "log.read" | "snapshot.take" | "debug.log" | "debug.stateHash";

export function statusHandlers(parts: StatusParts): Pick<Handlers, StatusMethods> {
  return {
    "identity.get": async () => whoAnswers(parts),
    "status.get": async () => statusOf(parts),
    "log.read": async ({ from, to }) => ({
      entries: encodeEntries(parts.raft.readLog(asLogIndex(from), asLogIndex(to), limits.logReadBytesMax)),
    }),
    "snapshot.take": async () => ({ index: await parts.raft.takeSnapshot() }),
    "debug.log": async ({ from, to }) => ({
      items: [...parts.stateMachine.hashes(from, Math.min(to, from + limits.listMax - 1))],
    }),
    "debug.stateHash": async ({ index }) => {
      const hash = parts.stateMachine.hashAt(index);
      if (hash !== undefined) return { index, hash };
      const { appliedIndex } = parts.stateMachine.version.value;
      throw new BlixardError("NOT_FOUND", `the state hash at ${index} is not known; applied is ${appliedIndex}`);
    },
  };
}

/** Small against the window over which request ids are remembered. */
const shownIndexStep = 500;

/** Who answers at the address: what a node says to anyone, also while it is held back. */
export function whoAnswers({
  identity,
  options,
  transport,
  stateMachine,
}: Pick<NodeParts, "identity" | "options"> & {
  readonly transport: Pick<NodeParts["transport"], "endpointId">;
  readonly stateMachine: Pick<NodeParts["stateMachine"], "state" | "version">;
}): Identity {
  const { state, version } = stateMachine;
  const role = state.nodes.get(nodeKey(options.nodeId))?.role;
  return {
    clusterId: identity().clusterId,
    nodeId: options.nodeId,
    endpointId: transport.endpointId,
    addresses: [...options.advertisedAddresses()],
    version: options.version,
    index: version.value.appliedIndex - (version.value.appliedIndex % shownIndexStep),
    ...(role === undefined ? {} : { role }),
    // Who serves people, where this node does not.
    ...(role === undefined || role === "voter" ? {} : { voters: votersToAsk(state) }),
  };
}

export function statusOf(parts: StatusParts): NodeStatus {
  const { raft, stateMachine, options } = parts;
  const status = raft.status.value;
  const { clusterId, incarnation } = parts.identity();
  const record = stateMachine.state.nodes.get(nodeKey(options.nodeId));
  const vms = [...stateMachine.state.vms.values()];
  return {
    clusterId,
    nodeId: options.nodeId,
    endpointId: parts.transport.endpointId,
    incarnation,
    role: roleOf(parts),
    term: status.term,
    leaderId: status.leaderId === 0 ? null : status.leaderId,
    commitIndex: status.commitIndex,
    appliedIndex: status.appliedIndex,
    lastLogIndex: status.lastLogIndex,
    lastLogTerm: status.lastLogTerm,
    snapshotIndex: status.snapshotIndex,
    configIndex: status.confIndex,
    members: memberStatuses(parts),
    storage: parts.storageHealth(),
    vms: { total: vms.length, running: vms.filter((vm) => isKnownToRun(parts, vm)).length },
    drivers: record?.capacity.drivers ?? [],
    version: options.version,
    featureLevel: options.featureLevel,
    clusterLevel: clusterLevel(stateMachine.state),
    levelHeldBy: levelHolders(stateMachine.state).map(({ id }) => id),
  };
}

/** Without a leader nobody marks the VMs of a node that does not answer: this node counts those alone whose node it hears. */
function isKnownToRun(parts: StatusParts, { phase, node }: VmRecord): boolean {
  if (phase !== "Running" || node === null) return false;
  return parts.raft.status.value.leaderId !== 0 || isReachable(parts, node);
}

function roleOf(parts: StatusParts): NodeStatus["role"] {
  const { role, confState, id } = parts.raft.status.value;
  switch (role) {
    case "StateLeader":
      return "leader";
    case "StateCandidate":
      return "candidate";
    case "StatePreCandidate":
      return "pre-candidate";
    case "StateFollower":
      return confState.learners.includes(id) ? "learner" : "follower";
    default:
      return role satisfies never;
  }
}
