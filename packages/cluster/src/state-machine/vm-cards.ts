/** The network cards of VMs in networks that have records: no two in one network have the same address, or the same hardware address. */
import { formatIpv4, isInRange, parseIpv4, parseIpv4Range } from "@blixard/common";
import {
  address6Of,
  isPrivate,
  type NetworkRecord,
  type NetworkView,
  networkPlanOf,
  type PrivateNetwork,
  recordedNetworksOf,
  type VmCard,
  type VmNetwork,
  type VmRecord,
  type VmSpec,
} from "@blixard/protocol";
import { networkNotFound } from "./network.ts";
import { refuse } from "./outcomes.ts";
import type { ClusterState, Outcome } from "./types.ts";

/** Why the VM of that name cannot have these cards; undefined when it can. */
export function cardsRefusal(state: ClusterState, name: string, cards: readonly VmCard[] = []): Outcome | undefined {
  const others = [...state.vms.values()].filter((vm) => vm.name !== name);
  for (const card of cards) {
    const network = state.networks.get(card.network);
    if (network?.networkId !== card.networkId) return networkNotFound(card.network);
    const refusal = placeRefusal(network, card) ?? takenRefusal(card, others);
    if (refusal !== undefined) return refuse("CONFLICT", refusal, "Try again, or name another address.");
  }
  return undefined;
}

/** What a card has follows from its network: an address in each range, or the bridge. */
function placeRefusal(network: NetworkRecord, { address, bridge, mac, address6 }: VmCard): string | undefined {
  const fits6 = address6 === address6Of(network, mac);
  if (fits6 && isPrivate(network) && address !== undefined && bridge === undefined)
    return addressRefusal(network, address);
  if (fits6 && !isPrivate(network) && address === undefined && bridge === network.bridge) return undefined;
  return `the card in the network ${network.name} is not one of it`;
}

/** Whether these are the cards of a VM with that specification: one for each private network, as it asks for. */
export function cardsFit(spec: Pick<VmSpec, "networks">, cards: readonly VmCard[]): boolean {
  const wished = recordedNetworksOf(spec);
  return wished.length === cards.length && wished.every((each, at) => isWished(each, cards[at]));
}

/** Whether the card is what a specification asks for. */
export function isWished({ network, address, mac }: VmNetwork, card: VmCard | undefined): boolean {
  if (card?.network !== network) return false;
  return (address === undefined || address === card.address) && (mac === undefined || mac === card.mac);
}

/** Why no card of the network can have the address. */
export function addressRefusal(network: PrivateNetwork, address: string): string | undefined {
  const { server, first, last } = networkPlanOf(network);
  const value = parseIpv4(address);
  if (value >= first && value <= last) return undefined;
  const why = value === server ? "that of its switch" : "none that a VM can have";
  return `the address ${address} is ${why} in the network ${network.name}, ${network.range}`;
}

/** Which VM has the address, or the hardware address, of a card in its network. */
export function takenRefusal(
  { network, networkId, address, mac }: Pick<VmCard, "network" | "networkId"> & Partial<VmCard>,
  vms: Iterable<Pick<VmRecord, "name" | "cards">>,
): string | undefined {
  for (const { name, cards = [] } of vms) {
    for (const card of cards) {
      if (card.networkId !== networkId) continue;
      if (address !== undefined && card.address === address)
        return `the VM ${name} has the address ${address} in the network ${network}`;
      if (card.mac === mac) return `the VM ${name} has the MAC address ${mac} in the network ${network}`;
    }
  }
  return undefined;
}

/** The lowest address that no card has and that is not excluded; undefined when there is none. */
export function freeAddress(network: PrivateNetwork, taken: ReadonlySet<string>): string | undefined {
  const { first, last } = networkPlanOf(network);
  const excluded = network.exclude.map(parseIpv4Range);
  for (let value = first; value <= last; value++) {
    const address = formatIpv4(value);
    if (!taken.has(address) && !excluded.some((range) => isInRange(value, range))) return address;
  }
  return undefined;
}

/** Networks with the VMs that are in them and the addresses that are left. */
export function networkViews(
  networks: readonly NetworkRecord[],
  vms: Iterable<Pick<VmRecord, "cards">>,
): NetworkView[] {
  const there = new Map<string, VmCard[]>(networks.map(({ networkId }) => [networkId, []]));
  for (const { cards = [] } of vms) for (const card of cards) there.get(card.networkId)?.push(card);
  return networks.map((network) => {
    const cards = there.get(network.networkId) ?? [];
    const view = { ...network, vms: cards.length };
    if (!isPrivate(network)) return view;
    const taken = cards.flatMap(({ address }) => (address === undefined ? [] : [parseIpv4(address)]));
    return { ...view, freeAddresses: freeAddressesOf(network, taken) };
  });
}

/** Of those that are given to who names none. */
function freeAddressesOf(network: PrivateNetwork, taken: readonly number[]): number {
  const { first, last } = networkPlanOf(network);
  const excluded = network.exclude.map(parseIpv4Range).sort((a, b) => a.base - b.base);
  let free = last - first + 1;
  let from = first;
  for (const { base, mask } of excluded) {
    const [start, end] = [Math.max(from, base), Math.min(last, base + (~mask >>> 0))];
    if (start > end) continue;
    free -= end - start + 1;
    from = end + 1;
  }
  return free - taken.filter((value) => !excluded.some((range) => isInRange(value, range))).length;
}
