/** The conformance suite of transport adapters, an adapter that cuts the network, and metrics that count, for tests. */
export { CountingMetrics } from "./counting-metrics.ts";
export type { AdapterFactory, TestApi } from "./describe-transport-adapter.ts";
export { describeTransportAdapter } from "./describe-transport-adapter.ts";
export type { FaultyAdapter } from "./faulty-adapter.ts";
export { createFaultyAdapter } from "./faulty-adapter.ts";
export { HostileFrames } from "./hostile-frames.ts";
export type { HostileReport, HostileRun } from "./hostile-peer.ts";
export { sendHostileFrames } from "./hostile-peer.ts";
export type { RecordingAdapter } from "./recording-adapter.ts";
export { createRecordingAdapter } from "./recording-adapter.ts";
