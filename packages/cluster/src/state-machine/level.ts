/**
 * The feature level of the cluster: up to it the leader proposes entries. It never goes down.
 *
 *     base -- every member reports a higher level: cluster.setLevel --> that level -- and again --> ...
 *
 * A member that reports less holds it, dead or alive, until it is upgraded or removed; a machine that understands less is
 * not let in.
 */
import { type BlixardError, notApplied } from "@blixard/common";
import { featureLevels, type NodeRecord, understoodLevel } from "@blixard/protocol";
import { sortedRecords } from "./state.ts";
import type { ClusterState } from "./types.ts";

/** The one key of the table `level`. */
export const levelKey = "level";

type Levels = Pick<ClusterState, "level" | "nodes">;

export function clusterLevel(state: Pick<ClusterState, "level">): number {
  return state.level.get(levelKey)?.level ?? featureLevels.base;
}

/** The members that do not understand `level`, in order of their ids. */
export function membersBelow(state: ClusterState, level: number): NodeRecord[] {
  return sortedRecords(state, "nodes").filter((node) => understoodLevel(node.featureLevel) < level);
}

/** The members because of which the cluster does not use what the others understand. */
export function levelHolders(state: ClusterState): NodeRecord[] {
  return membersBelow(
    state,
    Math.max(0, ...[...state.nodes.values()].map((node) => understoodLevel(node.featureLevel))),
  );
}

/** The level that the cluster can rise to now; undefined while a member holds it where it is. */
export function nextLevel(state: Levels, ownLevel: number): number | undefined {
  if (state.nodes.size === 0) return undefined;
  const levels = [...state.nodes.values()].map((node) => node.featureLevel);
  const next = Math.min(...[ownLevel, ...levels].map(understoodLevel));
  return next > clusterLevel(state) ? next : undefined;
}

/** Why a machine cannot be a member; undefined when it understands enough. */
export function joinerRefusal(
  state: Levels,
  joiner: Pick<NodeRecord, "id" | "version" | "featureLevel">,
): { readonly message: string; readonly hint: string } | undefined {
  const level = clusterLevel(state);
  const understood = understoodLevel(joiner.featureLevel);
  if (understood >= level) return undefined;
  return {
    message: `node ${joiner.id} runs release ${joiner.version}, which understands feature level ${understood}; this cluster is at ${level}`,
    hint: upgradeHint(state, level),
  };
}

/** The error for what needs a higher level than that of the cluster; it names a member that holds the level back. */
export function needsLevel(state: ClusterState, needed: number): BlixardError {
  const [below] = membersBelow(state, needed);
  const why = below === undefined ? "" : `: node ${below.id} runs release ${below.version}`;
  const message = `this needs feature level ${needed}, and the cluster is at ${clusterLevel(state)}${why}`;
  return notApplied("NEEDS_UPGRADE", message, {
    hint:
      below === undefined
        ? "The cluster is about to rise to it. Try again soon."
        : "Upgrade or remove the members that hold it back. See: blixard status",
  });
}

/** What a person does about a node that does not understand `level`. */
export function upgradeHint({ nodes }: Pick<ClusterState, "nodes">, level: number): string {
  // The hint becomes part of a result in the state, so it names the same node whatever the order of the map.
  const [other] = [...nodes.values()].filter((node) => node.featureLevel >= level).sort((a, b) => a.id - b.id);
  const release = other === undefined ? "a later release" : `the release of node ${other.id} (${other.version})`;
  return `Install ${release} on that machine, and start the node again with the data that it has.`;
}
