/** What a node and the switch of its VMs say to each other. */
import type { ForwardState } from "@blixard/protocol";
import type { Confinement } from "../driver.ts";
import type { HelperKind } from "../process/helper-process.ts";
import type { ProcessIdentity } from "../process/process-identity.ts";
import type { CarrierEndpoint, CarrierProgram } from "./private/frame-carrier.ts";
import type { LanePeer, LaneStatus } from "./private/lanes.ts";
import type { NetworksOfNode } from "./private/network-table.ts";
import type { ProbeAnswer, ProbeAsk } from "./probe/guest-probe.ts";
import type { PortForward, UserAddresses } from "./user-addresses.ts";

/** One network card of a running VM. */
interface AnyPortConfig {
  /** The process of the VM: with it, the port ends. */
  readonly vm: ProcessIdentity;
  /** Where the process of the VM listens for its other end. */
  readonly socketPath: string;
  readonly mac: string;
}

export interface UserPortConfig extends AnyPortConfig {
  readonly type: "user";
  readonly addresses: UserAddresses;
  readonly forwards: readonly PortForward[];
  /** Ranges that the guest may reach; absent: all that is outside. */
  readonly egress?: readonly string[];
  /** The walls of the VM, which passt stands behind too. */
  readonly confinement: Confinement;
}

export interface PrivatePortConfig extends AnyPortConfig {
  readonly type: "private";
  readonly networkId: string;
  /** In which the process was started. */
  readonly epoch: number;
}

/** Of a card whose frames pass no switch. */
export interface BridgePortConfig {
  readonly type: "bridge";
  readonly network: string;
  readonly mac: string;
  readonly bridge: string;
  /** The interface by which it is plugged in. */
  readonly tap: string;
  /** False: the state gives the VM no such card any more, and its process has it still. */
  readonly isWanted: boolean;
}

export type PortConfig = UserPortConfig | PrivatePortConfig;

export interface PortStatus {
  readonly vmId: string;
  /** Why no frame passes; undefined when they do. */
  readonly problem?: string;
  /** Of a card in the network `user`: its forwarded ports, and whether they are open. */
  readonly forwards?: readonly ForwardState[];
}

export type SwitchQuestion =
  /** How are the ports? */
  | { readonly type: "status" }
  /** A VM has these ports, and no others. */
  | { readonly type: "set"; readonly vmId: string; readonly ports: readonly PortConfig[] }
  /** Does a port of the guest answer in its network `user`? */
  | { readonly type: "probe"; readonly vmId: string; readonly ask: ProbeAsk; readonly timeoutMs: number }
  /** The private networks of the VMs of this node, all of them. */
  | { readonly type: "networks"; readonly networks: NetworksOfNode }
  /** Where does the switch take frames of others? It begins to with the first such question. */
  | { readonly type: "lane"; readonly carrier: CarrierProgram }
  /** The switches of other nodes, all of them. */
  | { readonly type: "peers"; readonly peers: readonly LanePeer[] };

export interface SwitchAnswers {
  readonly status: {
    readonly ports: readonly PortStatus[];
    /** Frames in private networks that went no further since it was started, by reason. */
    readonly drops: Readonly<Record<string, number>>;
    readonly lanes: readonly LaneStatus[];
  };
  readonly set: Readonly<Record<string, never>>;
  readonly probe: ProbeAnswer;
  readonly networks: Readonly<Record<string, never>>;
  readonly lane: CarrierEndpoint;
  readonly peers: Readonly<Record<string, never>>;
}

export const switchKind: HelperKind = {
  name: "the switch",
  argument: "--blixard-switch",
  program: new URL("./switch-main.js", import.meta.url),
};
