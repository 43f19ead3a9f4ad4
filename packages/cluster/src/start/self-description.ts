/** What a node says of itself when it is new: to the log of a cluster that it founds, or to a cluster that it joins. */
import { type CommandBody, featureLevels, type NodeCapacity, type RequestOf, understoodLevel } from "@blixard/protocol";
import type { VmManager } from "@blixard/vm-manager";
import type { ClusterNodeDeps, StartMode } from "../cluster-node-types.ts";
import { publishedCapacity } from "../duties/published-capacity.ts";
import type { ResolvedClusterNodeOptions } from "../options.ts";
import { ownTokensLevel } from "../state-machine/token.ts";

type How<Mode extends StartMode["mode"]> = Extract<StartMode, { readonly mode: Mode }>;

/** The first command of a new cluster, whose level is that of its first node already. */
export function firstCommand(
  deps: Pick<ClusterNodeDeps, "clock" | "transport" | "store" | "ownToken">,
  options: ResolvedClusterNodeOptions,
  how: How<"bootstrap">,
  { capacity, builtinImages }: Pick<VmManager, "capacity" | "builtinImages">,
): CommandBody {
  const { nodeId, version, featureLevel, advertisedAddresses } = options;
  const nowUnixMs = deps.clock.unixMs();
  return {
    type: "cluster.init",
    cluster: { clusterId: how.clusterId, createdUnixMs: nowUnixMs, formatVersion: 1 },
    node: {
      id: nodeId,
      name: how.nodeName ?? `n${nodeId}`,
      endpointId: deps.transport.endpointId,
      addresses: [...advertisedAddresses()],
      role: "voter",
      incarnation: 1,
      capacity: publishedCapacity(capacity, understoodLevel(featureLevel)),
      version,
      featureLevel,
      joinedUnixMs: nowUnixMs,
      cordoned: false,
      ...deps.store,
    },
    token: {
      id: "admin",
      tokenHash: how.tokenHash,
      role: "admin",
      createdUnixMs: nowUnixMs,
      // Where the node keeps no token, somebody else holds this one.
      ...(deps.ownToken === undefined || understoodLevel(featureLevel) < ownTokensLevel ? {} : { node: nodeId }),
    },
    images: [...builtinImages],
  };
}

/** The request to be admitted, without what shows the right to it. */
export function joinerOf(
  deps: Pick<ClusterNodeDeps, "transport" | "store">,
  options: ResolvedClusterNodeOptions,
  how: How<"join">,
  capacity: NodeCapacity,
): Omit<RequestOf<"join.request">, "ticket"> {
  const { nodeId, version, featureLevel, advertisedAddresses } = options;
  return {
    nodeId,
    ...(how.nodeName === undefined ? {} : { nodeName: how.nodeName }),
    endpointId: deps.transport.endpointId,
    addresses: [...advertisedAddresses()],
    capacity: publishedCapacity(capacity, featureLevels.base),
    version,
    featureLevel,
    ...deps.store,
    ...(deps.transport.instance === undefined ? {} : { instance: deps.transport.instance }),
  };
}
