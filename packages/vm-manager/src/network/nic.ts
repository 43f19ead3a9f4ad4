/** The network cards of a VM: one for each network that it has on this node. */
import { createHash } from "node:crypto";
import { BlixardError } from "@blixard/common";
import { networksOf, privateNetworks, userNetwork, type VmCard, type VmSpec } from "@blixard/protocol";

/** What the hardware of a VM shows of a network. It stays as it is for as long as the process runs. */
export interface Nic {
  readonly network: string;
  readonly mac: string;
}

/**
 * `available`: the networks that this node and the driver have. A VM is given no card for another one. `cards`: what the leader
 * gave it in private networks.
 */
export function nicsOf(
  { vmId, spec, cards = [] }: { readonly vmId: string; readonly spec: VmSpec; readonly cards?: readonly VmCard[] },
  available: readonly string[],
): readonly Nic[] {
  return networksOf(spec).flatMap(({ network, mac }, index) => {
    if (network === userNetwork)
      return available.includes(network) ? [{ network, mac: mac ?? macOf(vmId, index) }] : [];
    const card = cards.find((each) => each.network === network);
    return card !== undefined && available.includes(privateNetworks) ? [{ network, mac: card.mac }] : [];
  });
}

/** The same for a card on every node and at every start; locally administered and unicast (IEEE 802). */
function macOf(vmId: string, index: number): string {
  const bytes = createHash("sha256").update(`${vmId}/${index}`).digest().subarray(0, 6);
  bytes[0] = ((bytes[0] ?? 0) & 0xfc) | 0x02;
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}

const nameAllowed = /^[a-z0-9-]+$/;
const macAllowed = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/;
const devicePattern = /^virtio-net-pci,netdev=net\d+-([a-z0-9-]+),mac=([0-9a-f:]{17}),romfile=$/;

/** The name of a card in the arguments of a process. */
export function nicIdOf({ network }: Nic, index: number): string {
  return `net${index}-${network}`;
}

/**
 * The arguments with which the process of a VM says which card it has, whatever runs the VM: a node that lost its record of the VM
 * reads them. The card has no boot ROM.
 * @throws INVALID_ARGUMENT for what could be more than one argument
 */
export function nicDeviceArguments(nic: Nic, index: number): readonly string[] {
  if (!nameAllowed.test(nic.network) || !macAllowed.test(nic.mac)) {
    throw new BlixardError(
      "INVALID_ARGUMENT",
      "the network or MAC address of a network card has characters that are not allowed",
    );
  }
  return ["-device", `virtio-net-pci,netdev=${nicIdOf(nic, index)},mac=${nic.mac},romfile=`];
}

/** The network cards of a process that was started with these arguments. */
export function nicsInArguments(all: readonly string[]): readonly Nic[] {
  return all.flatMap((argument) => {
    const [, network, mac] = devicePattern.exec(argument) ?? [];
    return network === undefined || mac === undefined ? [] : [{ network, mac }];
  });
}
