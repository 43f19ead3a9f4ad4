/** The settings of the scheduler, which are those of the whole cluster. */
import type { CommandBodyOf, Scheduling } from "@blixard/protocol";
import { done, refuse } from "./outcomes.ts";
import { clusterKey } from "./state.ts";
import type { AppliersOf, ClusterState, Outcome } from "./types.ts";

export const schedulingAppliers: AppliersOf<"scheduling"> = { "scheduling.set": applySet };

function applySet(state: ClusterState, { type: _, ...given }: CommandBodyOf<"scheduling.set">): Outcome {
  const cluster = state.cluster.get(clusterKey);
  if (cluster === undefined) return refuse("CONFLICT", "there is no cluster yet");
  const scheduling: Scheduling = { ...cluster.scheduling, ...given };
  return done({ scheduling }, [{ table: "cluster", key: clusterKey, value: { ...cluster, scheduling } }]);
}
