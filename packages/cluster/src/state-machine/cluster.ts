/** Commands of the cluster as a whole. */
import type { CommandBodyOf } from "@blixard/protocol";
import { done, refuse } from "./outcomes.ts";
import { clusterKey, nodeKey } from "./state.ts";
import type { AppliersOf, ClusterState, Outcome } from "./types.ts";

export const clusterAppliers: AppliersOf<"cluster"> = { "cluster.init": applyInit };

function applyInit(state: ClusterState, body: CommandBodyOf<"cluster.init">): Outcome {
  const present = state.cluster.get(clusterKey);
  if (present !== undefined) {
    if (present.clusterId === body.cluster.clusterId) return done({ clusterId: present.clusterId });
    return refuse("ALREADY_EXISTS", `this is cluster ${present.clusterId} already`);
  }
  return done({ clusterId: body.cluster.clusterId }, [
    { table: "cluster", key: clusterKey, value: body.cluster },
    { table: "nodes", key: nodeKey(body.node.id), value: body.node },
    { table: "tokens", key: body.token.id, value: body.token },
    ...body.images.map((image) => ({ table: "images", key: image.name, value: image }) as const),
  ]);
}
