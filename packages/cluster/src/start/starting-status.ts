/** What a node says of itself that is held back at its start, and runs no Raft: what stands on its disk. */
import type { NodeStatus } from "@blixard/protocol";
import type { ClusterNodeDeps } from "../cluster-node-types.ts";
import type { ClusterStateMachine } from "../cluster-state-machine.ts";
import type { NodeIdentity } from "../node-parts.ts";
import type { ResolvedClusterNodeOptions } from "../options.ts";
import { clusterLevel, levelHolders } from "../state-machine/level.ts";
import { nodeKey, sortedRecords } from "../state-machine/state.ts";

/** Why the start does not go on, and where the log ends. */
export interface HeldBack {
  readonly reason: string;
  readonly term: number;
  readonly lastIndex: number;
}

export interface StartingStatusParts {
  readonly deps: Pick<ClusterNodeDeps, "storageHealth">;
  readonly options: Pick<ResolvedClusterNodeOptions, "nodeId" | "version" | "featureLevel">;
  readonly transport: Pick<ClusterNodeDeps["transport"], "endpointId">;
  readonly stateMachine: Pick<ClusterStateMachine, "state" | "version">;
  readonly identity: () => NodeIdentity;
  readonly heldBack: HeldBack;
}

export function startingStatus({ deps, ...parts }: StartingStatusParts): NodeStatus {
  const { options, transport, stateMachine, identity, heldBack } = parts;
  const { state, version } = stateMachine;
  const { appliedIndex } = version.value;
  const own = state.nodes.get(nodeKey(options.nodeId));
  const { term, lastIndex, reason } = heldBack;
  return {
    ...identity(),
    nodeId: options.nodeId,
    endpointId: transport.endpointId,
    // It follows nobody yet.
    role: own?.role === "voter" || own?.role === "witness" ? "follower" : "learner",
    leaderId: null,
    ...{ term, commitIndex: appliedIndex, appliedIndex, lastLogIndex: lastIndex, lastLogTerm: 0 },
    ...{ snapshotIndex: 0, configIndex: 0 },
    members: sortedRecords(state, "nodes").map(({ id, name, endpointId, role, addresses }) => ({
      ...{ id, name, endpointId, role, addresses, matchIndex: null, transport: "none", rttMs: null },
      path: id === options.nodeId ? ("self" as const) : ("none" as const),
      lastContactMs: id === options.nodeId ? 0 : null,
    })),
    storage: deps.storageHealth?.() ?? { healthy: true, lastError: null, corruptions: 0, repairs: 0 },
    vms: { total: state.vms.size, running: 0 },
    drivers: own?.capacity.drivers ?? [],
    version: options.version,
    featureLevel: options.featureLevel,
    clusterLevel: clusterLevel(state),
    levelHeldBy: levelHolders(state).map(({ id }) => id),
    heldBack: reason,
  };
}
