/** A private network as the replicated state describes it: who is in it, where, and by which addresses. The switch is told it whole. */
import { type Ipv4Range, isInRange } from "@blixard/common";
import type { SecurityRule } from "@blixard/protocol";
import { macNumberOf } from "../packet.ts";
import type { NetworkNames } from "./names.ts";
import { type CardRules, cardRulesOf } from "./security-rules.ts";

/** A network card of a VM, on whatever node. */
export interface NetworkHost {
  readonly name: string;
  readonly mac: string;
  readonly address: number;
  /** Of IPv6, as 32 hexadecimal digits; absent where the network has none. */
  readonly address6?: string;
  /** Where the VM is placed, and since which epoch: what another node or another epoch sends in its name is void. */
  readonly node: number;
  readonly epoch: number;
  /** The security groups of the card, of a VM of this node. Absent: everything passes. */
  readonly groups?: readonly string[];
  /** What the rules of the groups here name it by, beside its address. */
  readonly peers?: readonly string[];
}

/** A security group that a card of this node names. */
export interface NetworkGroup {
  readonly name: string;
  readonly in: readonly SecurityRule[];
  readonly out: readonly SecurityRule[];
}

export interface NetworkConfig {
  readonly networkId: string;
  readonly name: string;
  readonly range: Ipv4Range;
  /** The first 16 digits of its addresses of IPv6. Absent: it has none. */
  readonly network6?: string;
  /** Of the switch in this network: it gives addresses and answers names. */
  readonly server: number;
  readonly hosts: readonly NetworkHost[];
  readonly groups?: readonly NetworkGroup[];
}

/** The state of the networks that VMs of this node are in. */
export interface NetworksOfNode {
  readonly nodeId: number;
  readonly networks: readonly NetworkConfig[];
}

export class NetworkTable implements NetworkNames {
  readonly config: NetworkConfig;
  readonly #byMac: ReadonlyMap<number, NetworkHost>;
  readonly #byAddress: ReadonlyMap<number, NetworkHost>;
  readonly #byAddress6: ReadonlyMap<string | undefined, NetworkHost>;
  readonly #byName: ReadonlyMap<string, NetworkHost>;
  readonly #rules: ReadonlyMap<NetworkHost, CardRules>;

  constructor(config: NetworkConfig) {
    this.config = config;
    this.#byMac = new Map(config.hosts.map((host) => [macNumberOf(host.mac), host]));
    this.#byAddress = new Map(config.hosts.map((host) => [host.address, host]));
    this.#byAddress6 = new Map(config.hosts.map((host) => [host.address6, host]));
    this.#byName = new Map(config.hosts.map((host) => [host.name, host]));
    const walled = config.hosts.filter(({ groups }) => groups !== undefined);
    this.#rules = new Map(walled.map((host) => [host, cardRulesOf(host.groups, config.groups)]));
  }

  get network(): string {
    return this.config.name;
  }

  /** `mac` as a number. */
  hostOf(mac: number): NetworkHost | undefined {
    return this.#byMac.get(mac);
  }

  hostAt(address: number): NetworkHost | undefined {
    return this.#byAddress.get(address);
  }

  /** By its address of IPv6. */
  hostAt6(address: string): NetworkHost | undefined {
    return this.#byAddress6.get(address);
  }

  /** What the groups of a card let pass; undefined for one without, of which everything passes. */
  rulesOf(host: NetworkHost): CardRules | undefined {
    return this.#rules.get(host);
  }

  addressOf(name: string): number | undefined {
    return this.#byName.get(name)?.address;
  }

  address6Of(name: string): string | undefined {
    return this.#byName.get(name)?.address6;
  }

  nameOf(address: number): string | undefined {
    return this.#byAddress.get(address)?.name;
  }

  has(address: number): boolean {
    return isInRange(address, this.config.range);
  }
}
