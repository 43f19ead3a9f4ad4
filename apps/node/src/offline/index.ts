/** What can be done with the data directory of a node that does not run: verify it, and bring it back to life. */
export type { DataDirReport } from "./check-data-dir.ts";
export { checkDataDir } from "./check-data-dir.ts";
export type { ClusterRecoveryPlan } from "./recover-cluster.ts";
export { planClusterRecovery, recoverCluster } from "./recover-cluster.ts";
export type { NodeRecoveryPlan } from "./recover-node.ts";
export { planNodeRecovery, recoverNode } from "./recover-node.ts";
export { planTokenRecovery, recoverToken } from "./recover-token.ts";
