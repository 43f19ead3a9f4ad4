/** The ports of the switch, and of bridges, that a running VM needs, by the cards that its process has and what its specification says of them. */
import { isDeepStrictEqual } from "node:util";
import { cardTextsOf, networksOf, userNetwork } from "@blixard/protocol";
import type { Confinement } from "../driver.ts";
import type { InstanceRecord } from "../instance-record.ts";
import type { ProcessIdentity } from "../process/process-identity.ts";
import type { DesiredVm } from "../vm-manager-types.ts";
import { tapNameOf } from "./nic.ts";
import type { BridgePortConfig, PortConfig } from "./switch-messages.ts";
import { portForwardOf, userAddressesOf } from "./user-network.ts";

export function portsOf(
  { vmId, nics = [], fencingEpoch }: Pick<InstanceRecord, "vmId" | "nics" | "fencingEpoch">,
  { spec, cards = [] }: Pick<DesiredVm, "spec" | "cards">,
  of: {
    readonly vm: ProcessIdentity;
    readonly networkSockets: readonly string[];
    readonly confinement: Confinement;
  },
): readonly (PortConfig | BridgePortConfig)[] {
  const { confinement } = of;
  const vm = { pid: of.vm.pid, startTime: of.vm.startTime };
  return nics.flatMap(({ network, mac, slot, bridge }, index): (PortConfig | BridgePortConfig)[] => {
    const card = cards.find((each) => each.network === network && each.mac === mac);
    const plugged = bridge ?? card?.bridge;
    if (plugged !== undefined) {
      const isWanted = card?.bridge === plugged;
      return [{ type: "bridge", network, mac, bridge: plugged, tap: tapNameOf(vmId, slot ?? index), isWanted }];
    }
    const socketPath = of.networkSockets[slot ?? index];
    if (socketPath === undefined) return [];
    const shared = { vm, socketPath, mac };
    if (card !== undefined) {
      return [{ type: "private", ...shared, networkId: card.networkId, epoch: fencingEpoch }];
    }
    const wished = networksOf(spec).find((each) => each.network === network);
    if (network !== userNetwork || wished === undefined) return [];
    const addresses = userAddressesOf(wished.address);
    const forwards = (spec.forwards ?? []).map(portForwardOf);
    const egress = wished.egress === undefined ? {} : { egress: wished.egress };
    return [{ type: "user", ...shared, addresses, forwards, ...egress, confinement }];
  });
}

/** What a person should know of the network of a running VM. */
export interface NetworkProblem {
  readonly reason: "NoNetwork" | "NetworkDown" | "NotAsWanted";
  readonly message: string;
}

export function networkProblemOf(
  { nics, driver, startedWith }: Pick<InstanceRecord, "nics" | "driver" | "startedWith">,
  { spec, cards }: Pick<DesiredVm, "spec" | "cards">,
  of: {
    readonly missing: string | undefined;
    readonly problem: string | undefined;
    /** What could not be done about the cards while it runs; undefined where they stay those of its start. */
    readonly live: { readonly problem: string | undefined } | undefined;
  },
): NetworkProblem | undefined {
  if (of.problem !== undefined) return { reason: "NetworkDown", message: of.problem };
  if (of.live?.problem !== undefined) return { reason: "NotAsWanted", message: of.live.problem };
  if (driver === "fake" || networksOf(spec).length <= (nics?.length ?? 0)) return undefined;
  // They come: at once, or as its record says, when it is started again.
  const waits = startedWith?.cards !== undefined && !isDeepStrictEqual(startedWith.cards, cardTextsOf({ spec, cards }));
  if (waits || (of.live !== undefined && of.missing === undefined)) return undefined;
  const why =
    nics === undefined ? "it was started by an earlier release" : (of.missing ?? `the driver ${driver} gives none`);
  return { reason: "NoNetwork", message: `it has no network card: ${why}` };
}
