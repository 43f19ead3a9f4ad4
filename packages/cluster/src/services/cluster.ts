/** What a node says about itself at once, with or without a quorum. */
import { BlixardError } from "@blixard/common";
import { encodeEntries, limits, type MemberStatus, type NodeStatus } from "@blixard/protocol";
import { asLogIndex } from "@blixard/raft";
import type { Handlers } from "../calls/call-types.ts";
import { progressOf } from "../peers/reachability.ts";
import { clusterLevel, levelHolders } from "../state-machine/level.ts";
import { nodeKey, sortedRecords } from "../state-machine/state.ts";
import type { ServiceContext } from "./service-context.ts";
import { assertSpeaksFor } from "./vm.ts";

type StatusMethods =
  | "identity.get"
  | "status.get"
  | "node.verify"
  | "log.read"
  | "snapshot.take"
  | "debug.log"
  | "debug.stateHash";

export function statusHandlers(context: ServiceContext): Pick<Handlers, StatusMethods> {
  return {
    "identity.get": async () => ({
      clusterId: context.identity().clusterId,
      nodeId: context.options.nodeId,
      endpointId: context.transport.endpointId,
      addresses: [...context.options.advertisedAddresses()],
      version: context.options.version,
    }),
    "status.get": async () => statusOf(context),
    "node.verify": async (request, call) => {
      assertSpeaksFor(call, request.nodeId);
      return context.peerMemory.judge(request, context.raft.status.value);
    },
    "log.read": async ({ from, to }) => ({
      entries: encodeEntries(context.raft.readLog(asLogIndex(from), asLogIndex(to), limits.logReadBytesMax)),
    }),
    "snapshot.take": async () => ({ index: await context.raft.takeSnapshot() }),
    "debug.log": async ({ from, to }) => ({
      items: [...context.stateMachine.hashes(from, Math.min(to, from + limits.listMax - 1))],
    }),
    "debug.stateHash": async ({ index }) => {
      const hash = context.stateMachine.hashAt(index);
      if (hash !== undefined) return { index, hash };
      const { appliedIndex } = context.stateMachine.version.value;
      throw new BlixardError("NOT_FOUND", `the state hash at ${index} is not known; applied is ${appliedIndex}`);
    },
  };
}

export function statusOf(context: ServiceContext): NodeStatus {
  const { raft, stateMachine, options } = context;
  const status = raft.status.value;
  const { clusterId, incarnation } = context.identity();
  const record = stateMachine.state.nodes.get(nodeKey(options.nodeId));
  const vms = [...stateMachine.state.vms.values()];
  return {
    clusterId,
    nodeId: options.nodeId,
    endpointId: context.transport.endpointId,
    incarnation,
    role: roleOf(context),
    term: status.term,
    leaderId: status.leaderId === 0 ? null : status.leaderId,
    commitIndex: status.commitIndex,
    appliedIndex: status.appliedIndex,
    lastLogIndex: status.lastLogIndex,
    lastLogTerm: status.lastLogTerm,
    snapshotIndex: status.snapshotIndex,
    configIndex: status.confIndex,
    members: memberStatuses(context),
    storage: context.storageHealth(),
    vms: { total: vms.length, running: vms.filter((vm) => vm.phase === "Running").length },
    drivers: record?.capacity.drivers ?? [],
    version: options.version,
    featureLevel: options.featureLevel,
    clusterLevel: clusterLevel(stateMachine.state),
    levelHeldBy: levelHolders(stateMachine.state).map(({ id }) => id),
  };
}

function roleOf(context: ServiceContext): NodeStatus["role"] {
  const { role, confState, id } = context.raft.status.value;
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

export function memberStatuses(context: ServiceContext): MemberStatus[] {
  const sessions = new Map(context.transport.sessions().map((session) => [session.nodeId, session]));
  const ways = new Map(context.bulkRoutes?.().map(({ nodeId, route, reason }) => [nodeId, { route, reason }]));
  const { voters } = context.raft.status.value.confState;
  return sortedRecords(context.stateMachine.state, "nodes").map((node) => {
    const self = node.id === context.options.nodeId;
    const session = sessions.get(node.id);
    return {
      id: node.id,
      name: node.name,
      endpointId: node.endpointId,
      // A voter to be votes only once it has caught up and the Raft configuration says so.
      role: node.role === "voter" && !voters.some((id) => id === node.id) ? "learner" : node.role,
      addresses: node.addresses,
      matchIndex: progressOf(context, node.id)?.match ?? null,
      transport: session?.transport ?? "none",
      transportReason: session?.transportReason ?? null,
      path: self ? "self" : (session?.path ?? "none"),
      bulk: ways.get(node.id) ?? null,
      rttMs: session?.rttMs ?? null,
      lastContactMs: self ? 0 : (session?.lastContactMs ?? null),
      session: session?.state ?? null,
      queuedMessages: session?.queuedMessages ?? null,
      lastError: session?.lastError ?? null,
    };
  });
}
