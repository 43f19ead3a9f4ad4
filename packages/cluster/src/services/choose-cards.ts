/** Gives a VM its addresses in private networks. Those that were given out and that no record shows yet are remembered. */
import { notApplied, type Random } from "@blixard/common";
import { type NetworkRecord, privateNetworksOf, type VmCard, type VmRecord, type VmSpec } from "@blixard/protocol";
import type { ClusterState } from "../state-machine/types.ts";
import { addressRefusal, freeAddress, isWished, takenRefusal } from "../state-machine/vm-cards.ts";
import { networkOf } from "./network.ts";

/** What a VM is to get, from its choice until its command was answered. */
export type PromisedCards = Set<Pick<VmRecord, "name" | "cards">>;

/**
 * `present`: a VM that is there keeps what it has of it.
 * @throws NETWORK_NOT_FOUND, CONFLICT for an address that is taken, INVALID_ARGUMENT for one that no VM can have, NO_CAPACITY
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
  return privateNetworksOf(spec).map((wished) => {
    const had = present?.cards?.find((card) => card.network === wished.network);
    if (had !== undefined && isWished(wished, had)) return had;
    const network = networkOf(state, wished.network);
    const { networkId } = network;
    const { address = had?.address ?? assigned(network, others), mac = had?.mac ?? randomMac(random) } = wished;
    const outside = addressRefusal(network, address);
    if (outside !== undefined) throw notApplied("INVALID_ARGUMENT", `spec.networks: ${outside}`);
    const card = { network: wished.network, networkId, address, mac };
    const taken = takenRefusal(card, others);
    if (taken !== undefined) throw notApplied("CONFLICT", taken, { hint: "Name another one, or none." });
    return card;
  });
}

function assigned(network: NetworkRecord, others: Iterable<Pick<VmRecord, "cards">>): string {
  const taken = new Set<string>();
  for (const { cards = [] } of others) {
    for (const card of cards) if (card.networkId === network.networkId) taken.add(card.address);
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
