/** Gives a VM its cards in networks that have records, and its addresses in private ones. Those that were given out and that no record shows yet are remembered. */
import { notApplied, type Random } from "@blixard/common";
import {
  address6Of,
  isPrivate,
  type PrivateNetwork,
  recordedNetworksOf,
  type VmCard,
  type VmNetwork,
  type VmRecord,
  type VmSpec,
} from "@blixard/protocol";
import type { ClusterState } from "../state-machine/types.ts";
import { addressRefusal, freeAddress, isWished, takenRefusal } from "../state-machine/vm-cards.ts";
import { networkOf } from "./network.ts";

type Others = Iterable<Pick<VmRecord, "name" | "cards">>;

/** What a VM is to get, from its choice until its command was answered. */
export type PromisedCards = Set<Pick<VmRecord, "name" | "cards">>;

/**
 * `present`: a VM that is there keeps what it has of it.
 * @throws NETWORK_NOT_FOUND, CONFLICT for an address that is taken, INVALID_ARGUMENT for one that no VM can have, and
 * for what is asked of a bridge that the cluster cannot keep, NO_CAPACITY
 */
export function chooseCards(
  {
    state,
    random,
    promised,
  }: { readonly state: ClusterState; readonly random: Random; readonly promised: PromisedCards },
  spec: VmSpec,
  present?: Pick<VmRecord, "name" | "cards">,
): VmCard[] {
  const others = [...state.vms.values(), ...promised].filter(({ name }) => name !== present?.name);
  return recordedNetworksOf(spec).map((wished) => {
    const network = networkOf(state, wished.network);
    if (network.bridge !== undefined) assertBridgeKeeps(network.bridge, wished);
    const had = present?.cards?.find((card) => card.network === wished.network);
    if (had !== undefined && isWished(wished, had)) return had;
    const { mac = had?.mac ?? randomMac(random) } = wished;
    const shared = { network: network.name, networkId: network.networkId };
    const address6 = address6Of(network, mac);
    const own6 = address6 === undefined ? {} : { address6 };
    const card: VmCard = isPrivate(network)
      ? { ...shared, address: addressIn(network, wished.address ?? had?.address, others), mac, ...own6 }
      : { ...shared, mac, ...(network.bridge === undefined ? {} : { bridge: network.bridge }) };
    const taken = takenRefusal(card, others);
    if (taken !== undefined) throw notApplied("CONFLICT", taken, { hint: "Name another one, or none." });
    return card;
  });
}

/** Whoever keeps the bridge gives the addresses there, and its frames pass no switch of ours. @throws INVALID_ARGUMENT */
function assertBridgeKeeps(bridge: string, { network, address, securityGroups }: VmNetwork): void {
  const refuse = (why: string) =>
    notApplied("INVALID_ARGUMENT", `spec.networks: the network ${network} is the bridge ${bridge}: ${why}`);
  if (address !== undefined) throw refuse("its addresses are not the cluster's to give, so none can be named");
  if (securityGroups === undefined) return;
  throw refuse("its frames pass no switch of the cluster, so security groups would hold nothing there");
}

function addressIn(network: PrivateNetwork, asked: string | undefined, others: Others): string {
  const address = asked ?? assigned(network, others);
  const outside = addressRefusal(network, address);
  if (outside !== undefined) throw notApplied("INVALID_ARGUMENT", `spec.networks: ${outside}`);
  return address;
}

function assigned(network: PrivateNetwork, others: Others): string {
  const taken = new Set<string>();
  for (const { cards = [] } of others) {
    for (const { networkId, address } of cards) {
      if (networkId === network.networkId && address !== undefined) taken.add(address);
    }
  }
  const address = freeAddress(network, taken);
  if (address !== undefined) return address;
  throw notApplied("NO_CAPACITY", `the network ${network.name}, ${network.range}, has no address left`, {
    hint: "Delete VMs that are in it, or make a larger network.",
  });
}

/** Locally administered and unicast (IEEE 802). */
function randomMac(random: Random): string {
  const bytes = random.bytes(6);
  bytes[0] = ((bytes[0] ?? 0) & 0xfc) | 0x02;
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}
