/**
 * What a VM driver can do: one record, declared by the driver, published by the node that has it, and read by whoever
 * decides whether a VM fits. No limit of a driver stands anywhere else.
 */
import { z } from "zod";
import { limits } from "../limits.ts";
import { type ImageFormat, imageFormatSchema } from "./image.ts";
import { bridgeNameSchema, nameSchema } from "./values.ts";
import type { VmCard } from "./vm-cards.ts";
import { imageHasDisk, type VmDisk } from "./vm-disks.ts";
import { asksAgent, describeCheck } from "./vm-health.ts";
import { type NetworkWishes, networksAskedFor, privateNetworks, userNetwork } from "./vm-networks.ts";

/** The kinds of drivers. One driver may run several: QEMU runs with KVM and by translation. */
export const driverKindSchema = z.enum(["qemu-kvm", "qemu-tcg", "embedded", "fake"]);
export type DriverKind = z.infer<typeof driverKindSchema>;

export const driverCapabilitiesSchema = z.object({
  imageFormats: z.array(imageFormatSchema).max(imageFormatSchema.options.length),
  /** The most virtual CPUs of one VM. */
  vcpusMax: z.int().min(1),
  /** The most memory of one VM. */
  memoryMiBMax: z.int().min(1),
  /** The networks that a VM of this node can have with it; `private` stands for all that have a range. Absent: none. */
  networks: z.array(nameSchema).max(limits.driverNetworksMax).meta({ since: 3 }).exactOptional(),
  /** The most network cards of one VM. Absent: as many as its specification may have. */
  networkCardsMax: z.int().min(1).meta({ since: 3 }).exactOptional(),
  /** Whether VMs have disks beside that of their image, and sizes of their own. Absent: no. */
  disks: z.boolean().meta({ since: 3 }).exactOptional(),
  /** Whether it shows its guests what cloud-init is told. Absent: no. */
  cloudInit: z.boolean().meta({ since: 3 }).exactOptional(),
  /** Whether its guests may have an agent that the node talks with. Absent: no. */
  agent: z.boolean().meta({ since: 3 }).exactOptional(),
  /** Whether a VM that runs can get volumes, and let go of them. Absent: no. */
  diskHotplug: z.boolean().meta({ since: 3 }).exactOptional(),
  /** Whether a VM that runs can get virtual CPUs, and give them back. Absent: no. */
  cpuHotplug: z.boolean().meta({ since: 3 }).exactOptional(),
  /** Whether a VM that runs can get memory, and give it back. Absent: no. */
  memoryHotplug: z.boolean().meta({ since: 3 }).exactOptional(),
  /** Whether VMs have CD-ROM drives, and boot from them. Absent: no. */
  cdrom: z.boolean().meta({ since: 3 }).exactOptional(),
  /** Whether a VM that runs can get network cards, and let go of them. Absent: no. */
  nicHotplug: z.boolean().meta({ since: 3 }).exactOptional(),
  /** The Linux bridges of its node that network cards can be plugged in. Absent: none. */
  bridges: z.array(bridgeNameSchema).max(limits.nodeBridgesMax).meta({ since: 3 }).exactOptional(),
});
export type DriverCapabilities = z.infer<typeof driverCapabilitiesSchema>;

/** What a VM asks of a driver: parts of its spec and of its image. */
export interface DriverDemand {
  readonly spec: {
    readonly vcpus: number;
    readonly memoryMiB: number;
    readonly disks?: readonly VmDisk[];
    readonly cdroms?: readonly object[];
    readonly cloudInit?: object;
    readonly vcpusMax?: number;
    readonly memoryMiBMax?: number;
  } & NetworkWishes;
  /** Which of its networks are bridges stands in them. Default: none is. */
  readonly cards?: readonly Pick<VmCard, "network" | "bridge">[] | undefined;
  readonly image: { readonly format: ImageFormat; readonly blobs?: readonly { readonly role: string }[] };
}

/**
 * Why no driver can run a VM of this image, wherever it is; undefined when one may. A guest that boots without firmware is told of
 * nothing that comes, and has no channel for an agent.
 */
export function imageMisfit({ spec, image }: DriverDemand): string | undefined {
  if (image.format !== "multiboot") return undefined;
  const guest = `a guest of a ${image.format} image`;
  if (spec.vcpusMax !== undefined) return `${guest} takes no vcpus while it runs: it can have no vcpusMax`;
  if (spec.memoryMiBMax !== undefined) return `${guest} takes no memory while it runs: it can have no memoryMiBMax`;
  const check = spec.health?.find(asksAgent);
  if (check === undefined) return undefined;
  return `${guest} has no channel for an agent, which the health check ${describeCheck(check)} needs`;
}

/** Why a driver cannot run a VM, for people; undefined when it can. */
export function driverRefusal(
  kind: DriverKind,
  capabilities: DriverCapabilities,
  { spec, image, cards: given = [] }: DriverDemand,
): string | undefined {
  const { imageFormats, vcpusMax, memoryMiBMax, networks = [], networkCardsMax } = capabilities;
  const { disks = false, cloudInit = false, agent = false } = capabilities;
  const isDisc = image.format === "iso";
  if ((isDisc || spec.cdroms !== undefined) && capabilities.cdrom !== true) {
    return `driver ${kind} has no CD-ROM drives (cdrom)`;
  }
  if (!isDisc && !imageFormats.includes(image.format)) return `driver ${kind} cannot boot ${image.format} images`;
  const needsDisks = spec.disks !== undefined || (image.format !== "disk" && imageHasDisk(image));
  if (needsDisks && !disks) return `driver ${kind} gives no disks to VMs`;
  if (spec.cloudInit !== undefined && !cloudInit) return `driver ${kind} tells cloud-init nothing`;
  const misfit = imageMisfit({ spec, image });
  if (misfit !== undefined) return misfit;
  const byAgent = spec.health?.find(asksAgent);
  if (byAgent !== undefined && !agent) {
    return `a guest of driver ${kind} has no channel for an agent, which the health check ${describeCheck(byAgent)} needs`;
  }
  const vcpus = Math.max(spec.vcpus, spec.vcpusMax ?? 0);
  if (vcpus > vcpusMax) {
    return `driver ${kind} has ${vcpusMax} ${vcpusMax === 1 ? "vcpu" : "vcpus"}, ${vcpus} are needed`;
  }
  const needed = Math.max(spec.memoryMiB, spec.memoryMiBMax ?? 0);
  if (needed > memoryMiBMax) {
    return `driver ${kind} has ${memoryMiBMax} MiB at most, ${needed} are needed`;
  }
  const fixed = hotplugRefusal(kind, capabilities, spec);
  if (fixed !== undefined) return fixed;
  const cards = networksAskedFor(spec).length;
  if (networkCardsMax !== undefined && cards > networkCardsMax) {
    return `driver ${kind} gives ${networkCardsMax} network ${networkCardsMax === 1 ? "card" : "cards"}, ${cards} are needed`;
  }
  const kindOf = (network: string) => (network === userNetwork ? userNetwork : privateNetworks);
  const bridgeOf = (network: string) => given.find((card) => card.network === network)?.bridge;
  const missing = networksAskedFor(spec).find(
    (network) => bridgeOf(network) === undefined && !networks.includes(kindOf(network)),
  );
  if (missing !== undefined) return `driver ${kind} has no network ${missing} there`;
  const bridged = networksAskedFor(spec).find((network) => !isOffered(bridgeOf(network), capabilities));
  if (bridged === undefined) return undefined;
  return `driver ${kind} offers no bridge ${bridgeOf(bridged)} there, which the network ${bridged} is (bridges)`;
}

function isOffered(bridge: string | undefined, { bridges = [] }: DriverCapabilities): boolean {
  return bridge === undefined || bridges.includes(bridge);
}

function hotplugRefusal(
  kind: DriverKind,
  { cpuHotplug = false, memoryHotplug = false }: DriverCapabilities,
  { vcpusMax, memoryMiBMax }: DriverDemand["spec"],
): string | undefined {
  const refused = (what: string) => `driver ${kind} takes no ${what} while it runs`;
  if (vcpusMax !== undefined && !cpuHotplug) return `${refused("vcpus")} (cpuHotplug)`;
  return memoryMiBMax !== undefined && !memoryHotplug ? `${refused("memory")} (memoryHotplug)` : undefined;
}
