/**
 * Clusters for tests: nodes inside the test's own process over any transport, and nodes that are real processes.
 */

export { RetryClient } from "@blixard/client";
export type { ProcessClusterOptions } from "./process-cluster.ts";
export { ProcessCluster } from "./process-cluster.ts";
export type { ProcessExit, ProcessNodeOptions, ReadyLine } from "./process-node.ts";
export { ProcessNode } from "./process-node.ts";
