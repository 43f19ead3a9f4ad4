/** The network cards of a VM: one for each network that it has on this node. */
import { createHash } from "node:crypto";
import { BlixardError } from "@blixard/common";
import {
  networksOf,
  privateNetworks,
  userAddressDefault,
  userNetwork,
  type VmCard,
  type VmSpec,
} from "@blixard/protocol";

/** What the hardware of a VM shows of a network. */
export interface Nic {
  readonly network: string;
  readonly mac: string;
  /** What the guest is told when it asks. Absent: it is not known what it was when the guest got the card. */
  readonly address?: string;
  /** Its place in the process, and among its sockets. Absent: the one that it has in the list. */
  readonly slot?: number;
}

/**
 * `available`: the networks that this node and the driver have. A VM is given no card for another one. `cards`: what the leader
 * gave it in private networks.
 */
export function nicsOf(
  { vmId, spec, cards = [] }: { readonly vmId: string; readonly spec: VmSpec; readonly cards?: readonly VmCard[] },
  available: readonly string[],
): readonly Nic[] {
  return networksOf(spec).flatMap(({ network, mac, address = userAddressDefault }): Nic[] => {
    if (network === userNetwork) {
      return available.includes(network) ? [{ network, mac: mac ?? userMacOf(vmId), address }] : [];
    }
    const card = cards.find((each) => each.network === network);
    if (card === undefined || !available.includes(privateNetworks)) return [];
    return [{ network, mac: card.mac, address: card.address }];
  });
}

/**
 * Those of one that runs. A card that it has stays where it is wanted, also while this node finds no way for its frames: passt may be
 * exchanged just now.
 */
export function wantedNics(
  vm: Parameters<typeof nicsOf>[0],
  available: readonly string[],
  present: readonly Nic[] = [],
): readonly Nic[] {
  const isPossible = (network: string) => available.includes(network === userNetwork ? userNetwork : privateNetworks);
  return nicsOf(vm, [userNetwork, privateNetworks]).filter(
    ({ network }) => isPossible(network) || present.some((nic) => nic.network === network),
  );
}

/** The same on every node and at every start, whatever other cards come and go; locally administered and unicast (IEEE 802). */
function userMacOf(vmId: string): string {
  const bytes = createHash("sha256").update(`${vmId}/0`).digest().subarray(0, 6);
  bytes[0] = ((bytes[0] ?? 0) & 0xfc) | 0x02;
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}

const nameAllowed = /^[a-z0-9-]+$/;
const macAllowed = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/;
const devicePattern = /^virtio-net-pci,id=(net\d+-[a-z0-9-]+),netdev=nic\d+,mac=([0-9a-f:]{17}),romfile=(?:,bus=\w+)?$/;
const idPattern = /^net(\d+)-([a-z0-9-]+)$/;

/** What carries the frames of a card, whichever card is in that place. */
export function netdevIdOf(slot: number): string {
  return `nic${slot}`;
}

/**
 * The device of a card: what it is, so that who lost its record of the VM can read it. The card has no boot ROM. `bus`: where it goes
 * in while the VM runs; undefined: it is there from the start to the end.
 * @throws INVALID_ARGUMENT for what could be more than one argument
 */
export function nicDevice(
  { network, mac }: Nic,
  slot: number,
  bus: string | undefined,
): Readonly<Record<string, string>> {
  if (!nameAllowed.test(network) || !macAllowed.test(mac)) {
    throw new BlixardError(
      "INVALID_ARGUMENT",
      "the network or MAC address of a network card has characters that are not allowed",
    );
  }
  const device = { driver: "virtio-net-pci", id: `net${slot}-${network}`, netdev: netdevIdOf(slot), mac, romfile: "" };
  return bus === undefined ? device : { ...device, bus };
}

/** The arguments with which the process of a VM says which card it has, whatever runs the VM. @throws INVALID_ARGUMENT */
export function nicDeviceArguments(nic: Nic, slot: number, bus?: string): readonly string[] {
  const { driver, ...rest } = nicDevice(nic, slot, bus);
  return ["-device", [driver, ...Object.entries(rest).map(([key, value]) => `${key}=${value}`)].join(",")];
}

/** Which card it is, by the name of its device; undefined for another device. */
export function nicOfId(id: string): { readonly slot: number; readonly network: string } | undefined {
  const [, slot, network] = idPattern.exec(id) ?? [];
  return slot === undefined || network === undefined ? undefined : { slot: Number(slot), network };
}

/** The network cards with which a process was started that has these arguments. */
export function nicsInArguments(all: readonly string[]): readonly Nic[] {
  return all.flatMap((argument) => {
    const [, id = "", mac] = devicePattern.exec(argument) ?? [];
    const nic = nicOfId(id);
    return nic === undefined || mac === undefined ? [] : [{ ...nic, mac }];
  });
}
