/** What a node and the switch of its VMs say to each other. */
import type { Confinement } from "../driver.ts";
import type { HelperKind } from "../process/helper-process.ts";
import type { ProcessIdentity } from "../process/process-identity.ts";
import type { PortForward, UserAddresses } from "./user-addresses.ts";

/** One network card of a running VM. */
export interface PortConfig {
  /** The process of the VM: with it, the port ends. */
  readonly vm: ProcessIdentity;
  /** Where the process of the VM listens for its other end. */
  readonly socketPath: string;
  readonly mac: string;
  readonly addresses: UserAddresses;
  readonly forwards: readonly PortForward[];
  /** The walls of the VM, which passt stands behind too. */
  readonly confinement: Confinement;
}

export interface PortStatus {
  readonly vmId: string;
  /** Why no frame passes; undefined when they do. */
  readonly problem?: string;
}

export type SwitchQuestion =
  /** How are the ports? */
  | { readonly type: "status" }
  /** A VM has these ports, and no others. */
  | { readonly type: "set"; readonly vmId: string; readonly ports: readonly PortConfig[] };

export interface SwitchAnswers {
  readonly status: { readonly ports: readonly PortStatus[] };
  readonly set: Readonly<Record<string, never>>;
}

export const switchKind: HelperKind = {
  name: "the switch",
  argument: "--blixard-switch",
  program: new URL("./switch-main.js", import.meta.url),
};
