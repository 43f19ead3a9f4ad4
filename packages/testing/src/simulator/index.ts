/**
 * Whole clusters from one seed: the same cluster nodes as in the binary, on a virtual clock, network and disk. A run
 * is a function of its seed, so what fails once fails again.
 */
export { describeFault, type FaultAction, type FaultEvent } from "./fault-schedule.ts";
export { type SimulationOptions, type SimulationResult, simulate } from "./simulation.ts";
export type { Violation } from "./violation.ts";
