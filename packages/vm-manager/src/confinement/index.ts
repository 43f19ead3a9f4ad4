/** The walls around the processes of VMs, for who tells what a host gives without running a VM on it. */
export type { ConfinementOptions, UserRange } from "./confinement-options.ts";
export { defaultConfinement } from "./confinement-options.ts";
export type { ConfinementReport, MissingWall } from "./host-confinement.ts";
export { HostConfinement } from "./host-confinement.ts";
