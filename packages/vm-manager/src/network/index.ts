/** The networks of VMs, for who tells what a host gives without running a VM on it. */
export type { MissingNetworks } from "./vm-networks.ts";
export { whyNoNetworks } from "./vm-networks.ts";
