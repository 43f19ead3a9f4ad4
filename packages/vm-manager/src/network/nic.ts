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
  /**
   * What the guest is told when it asks. Absent: nobody here tells it, or it is not known what it was when the guest got the card.
   */
  readonly address?: string;
  /** Its frames go to a tap in that bridge. Absent: to the switch. */
  readonly bridge?: string;
  /** Its place in the process, and among its sockets. Absent: the one that it has in the list. */
  readonly slot?: number;
}

/** What cards can be connected to on a node. */
export interface HostNetworks {
  /** As `networks` of the driver says them. */
  readonly networks: readonly string[];
  readonly bridges: readonly string[];
}

/**
 * `available`: what this node and the driver have. A VM is given no card for another one. `cards`: what the leader gave it in
 * networks that have records.
 */
export function nicsOf(
  { vmId, spec, cards = [] }: { readonly vmId: string; readonly spec: VmSpec; readonly cards?: readonly VmCard[] },
  available: HostNetworks,
): readonly Nic[] {
  return networksOf(spec).flatMap(({ network, mac, address = userAddressDefault }): Nic[] => {
    if (network === userNetwork) {
      const nic = { network, mac: mac ?? userMacOf(vmId), address };
      return isAvailable(nic, available) ? [nic] : [];
    }
    return cards
      .filter((card) => card.network === network)
      .map(({ networkId: _, address6: __, ...card }) => card)
      .filter((nic) => isAvailable(nic, available));
  });
}

/**
 * Those of one that runs. A card that it has stays where it is wanted, also while this node finds no way for its frames: passt may be
 * exchanged just now.
 */
export function wantedNics(
  vm: Parameters<typeof nicsOf>[0],
  available: HostNetworks,
  present: readonly Nic[] = [],
): readonly Nic[] {
  const bridges = (vm.cards ?? []).flatMap(({ bridge }) => bridge ?? []);
  return nicsOf(vm, { networks: [userNetwork, privateNetworks], bridges }).filter(
    (nic) => isAvailable(nic, available) || present.some(({ network }) => network === nic.network),
  );
}

function isAvailable({ network, bridge }: Nic, { networks, bridges }: HostNetworks): boolean {
  if (bridge !== undefined) return bridges.includes(bridge);
  return networks.includes(network === userNetwork ? userNetwork : privateNetworks);
}

/** Of the interface by which a card is plugged in a bridge: 12 characters of the 15 that one may have. */
export function tapNameOf(vmId: string, slot: number): string {
  return `bx${createHash("sha256").update(`${vmId}/tap/${slot}`).digest("hex").slice(0, 10)}`;
}

/** The same on every node and at every start, whatever other cards come and go; locally administered and unicast (IEEE 802). */
function userMacOf(vmId: string): string {
  const bytes = createHash("sha256").update(`${vmId}/0`).digest().subarray(0, 6);
  bytes[0] = ((bytes[0] ?? 0) & 0xfc) | 0x02;
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}

const nameAllowed = /^[a-z0-9-]+$/;
const macAllowed = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/;
const bridgeAllowed = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,14}$/;
const devicePattern =
  /^virtio-net-pci,id=(net\d+-[a-z0-9-]+),netdev=nic\d+,mac=([0-9a-f:]{17}),romfile=(?:,bus=([\w.-]+))?$/;
/** Before the number of a slot. */
export const nicSlotPrefix = "card";
/** Of a slot whose frames go to a tap in the bridge behind its number, as long as the process lives. */
const tapSlotPattern = /^tap(\d+)-(.+)$/;
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

/** The name of a slot for a network card. @throws INVALID_ARGUMENT for what could be more than one argument */
export function nicSlotId(slot: number, bridge: string | undefined): string {
  if (bridge === undefined) return `${nicSlotPrefix}${slot}`;
  if (bridgeAllowed.test(bridge)) return `tap${slot}-${bridge}`;
  throw new BlixardError("INVALID_ARGUMENT", "the name of a bridge has characters that are not allowed");
}

/** The bridge behind the slot of that number, when that is its name. */
export function bridgeOfSlot(id: string, slot: number): string | undefined {
  const [, number, bridge] = tapSlotPattern.exec(id) ?? [];
  return Number(number) === slot ? bridge : undefined;
}

/** Which card it is, by the name of its device; undefined for another device. */
export function nicOfId(id: string): { readonly slot: number; readonly network: string } | undefined {
  const [, slot, network] = idPattern.exec(id) ?? [];
  return slot === undefined || network === undefined ? undefined : { slot: Number(slot), network };
}

/** The network cards with which a process was started that has these arguments. */
export function nicsInArguments(all: readonly string[]): readonly Nic[] {
  return all.flatMap((argument) => {
    const [, id = "", mac, bus = ""] = devicePattern.exec(argument) ?? [];
    const nic = nicOfId(id);
    if (nic === undefined || mac === undefined) return [];
    const bridge = bridgeOfSlot(bus, nic.slot);
    return [{ ...nic, mac, ...(bridge === undefined ? {} : { bridge }) }];
  });
}
