/**
 * Clusters for tests: whole nodes inside the test's own process over any transport (TestNode, TestCluster), and nodes
 * that are processes of the real binary (ProcessNode, ProcessCluster).
 */
export { RetryClient } from "@blixard/client";
export { type IrohRelay, startIrohRelay } from "./iroh-relay.ts";
export { type Lan, type LanMachine, startLan } from "./lan.ts";
export type { ProcessClusterOptions } from "./process-cluster.ts";
export { ProcessCluster } from "./process-cluster.ts";
export type { ProcessExit, ProcessNodeOptions } from "./process-node.ts";
export { ProcessNode } from "./process-node.ts";
export type { TestClusterBuilder, TestClusterOptions } from "./test-cluster.ts";
export { TestCluster } from "./test-cluster.ts";
export type { TestNodeBuilder, TestNodeOptions, TestTransport } from "./test-node.ts";
export { TestNode } from "./test-node.ts";
export { instanceProcesses, watchdogProcesses } from "./vm-processes.ts";
