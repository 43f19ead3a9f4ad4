/**
 * One whole node from its real parts: data directory, identity, Iroh, Level, VMs and the HTTP API. The `blixard` binary
 * wraps it into a process; a program of yours can run it inside its own.
 */

import "./assert-limits.ts";

export { carrierProgram } from "./networks/network-lanes.ts";
export type { AdapterOptions, CreateAdapter } from "./node/node-adapter.ts";
export { createNodeAdapter } from "./node/node-adapter.ts";
export type { PromMetrics } from "./node/prom-metrics.ts";
export { createPromMetrics } from "./node/prom-metrics.ts";
export type { ReadyLine } from "./node/ready-line.ts";
export type { RunningNode, StartNodeDeps } from "./node/start-node.ts";
export { startNode } from "./node/start-node.ts";
export type { NodeConfig, Setting, SettingName } from "./node-settings.ts";
export { flagOf, nodeSettings, variableOf } from "./node-settings.ts";
