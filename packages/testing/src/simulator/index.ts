/**
 * Whole clusters from one seed: the same cluster nodes as in the binary, or members of a Raft group with a state machine
 * of one's own, on a virtual clock, network and disk. A run is a function of its seed, so what fails once fails again.
 */
export { runScenario } from "./command-line.ts";
export type { FaultAction, FaultEvent } from "./fault-schedule.ts";
export { type GroupClient, type GroupScenario, simulateGroup } from "./group-simulation.ts";
export type { Replica } from "./raft-group.ts";
export { shrinkFaults } from "./shrink.ts";
export { simulate } from "./simulation.ts";
export type { SimulationOptions, SimulationResult } from "./storm-run.ts";
export type { Violation } from "./violation.ts";
