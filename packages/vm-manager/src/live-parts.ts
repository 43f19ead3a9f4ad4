/** The parts of a running instance that are brought up to what is wanted without a restart, as far as its process can. */
import type { Clock, Logger } from "@blixard/common";
import { cardTextsOf, hotplugOf, namesOfDrives, type StartedWith } from "@blixard/protocol";
import type { GuestUse } from "./agent/guest-agent.ts";
import type { VmWalls } from "./confinement/vm-walls.ts";
import { LiveDisks, type LiveDisksDeps } from "./disks/live-disks.ts";
import type { VmInstance } from "./driver.ts";
import type { InstanceRecord } from "./instance-record.ts";
import { LiveNics } from "./network/live-nics.ts";
import { LiveSize } from "./resize/live-size.ts";
import type { DesiredVm } from "./vm-manager-types.ts";
import type { VolumeKeeper } from "./volumes/volume-keeper.ts";

export interface LiveParts {
  /** Undefined for one whose disks are those of its start. */
  readonly disks: LiveDisks | undefined;
  /** Undefined for one whose processors and memory are those of its start. */
  readonly size: LiveSize | undefined;
  /** Undefined for one whose network cards are those of its start. */
  readonly nics: LiveNics | undefined;
}

export interface LivePartsDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly volumes: Pick<VolumeKeeper, "find">;
  readonly images: LiveDisksDeps["images"];
  readonly walls: Pick<VmWalls, "resize">;
  readonly directory: string;
  /** Has the guest use what it sees; undefined while nobody there does that. */
  readonly useAll: () => Promise<GuestUse> | undefined;
}

export function livePartsOf(
  { disks, size, nics, state }: Pick<VmInstance, "disks" | "size" | "nics" | "state">,
  { vmId, confinement, startedWith, nics: known = [] }: InstanceRecord,
  { clock, logger, volumes, images, walls, directory, useAll }: LivePartsDeps,
): LiveParts {
  const { hotplug, cards } = startedWith ?? {};
  const shared = { clock, logger, state };
  const uid = confinement?.uid ?? undefined;
  return {
    disks: disks && new LiveDisks({ ...shared, volumes, images, directory, uid, disks }),
    size:
      size &&
      hotplug &&
      new LiveSize({ ...shared, size, hotplug, useAll, makeRoom: (needed) => walls.resize(vmId, confinement, needed) }),
    nics: nics === undefined || cards !== undefined ? undefined : new LiveNics({ ...shared, nics, known }),
  };
}

/** `changesNics`: the process has slots for network cards. */
export function startedWithOf({ spec, cards, needsLease }: DesiredVm, changesNics: boolean): StartedWith {
  const { vcpus, memoryMiB, bootOrder } = spec;
  const drives = namesOfDrives(spec);
  const hotplug = hotplugOf(spec);
  const onPartition = needsLease === true ? "stop" : "keep";
  return {
    ...{ vcpus, memoryMiB, onPartition },
    ...(hotplug === undefined ? {} : { hotplug }),
    ...(drives === undefined ? {} : { cdroms: drives }),
    ...(bootOrder === undefined ? {} : { bootOrder }),
    ...(changesNics ? {} : { cards: [...cardTextsOf({ spec, cards })] }),
  };
}
