/** Commands of the cluster as a whole. */
import type { CommandBodyOf } from "@blixard/protocol";
import { clusterLevel, levelKey, membersBelow } from "./level.ts";
import { done, refuse } from "./outcomes.ts";
import { clusterKey, nodeKey } from "./state.ts";
import type { AppliersOf, ClusterState, CommandEntry, Outcome } from "./types.ts";

export const clusterAppliers: AppliersOf<"cluster"> = {
  "cluster.init": applyInit,
  "cluster.setLevel": applySetLevel,
};

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

/** The leader has looked at the members already; but one may have come or gone back since. */
function applySetLevel(
  state: ClusterState,
  { level }: CommandBodyOf<"cluster.setLevel">,
  entry: CommandEntry,
): Outcome {
  const present = clusterLevel(state);
  if (level <= present) return done({ level: present });
  const [below] = membersBelow(state, level);
  if (below !== undefined) {
    return refuse("CONFLICT", `node ${below.id} (release ${below.version}) does not understand feature level ${level}`);
  }
  return done({ level }, [{ table: "level", key: levelKey, value: { level, index: entry.index } }]);
}
