/**
 * Brings the disks of a VM that runs up to what is wanted: attaches volumes, lets go of them, makes disks larger, limits what
 * the guest does with them, and changes what lies in its CD-ROM drives.
 */
import { stat } from "node:fs/promises";
import { isDeepStrictEqual } from "node:util";
import { type Clock, type Logger, messageOf, Watch } from "@blixard/common";
import { disksOf, type GuestDisks, type VmCdrom, type VmDisk } from "@blixard/protocol";
import { AlignLoop } from "../align-loop.ts";
import type { InstanceDisks, InstanceState } from "../driver.ts";
import { bringDisks } from "../process/instance-files.ts";
import type { DesiredVm } from "../vm-manager-types.ts";
import type { VolumeKeeper } from "../volumes/volume-keeper.ts";
import { ArrivingMedia } from "./arriving-media.ts";
import { type CdromImages, mediumOf, removeOtherMedia } from "./cdrom-files.ts";
import { linkVolume, unlinkVolume } from "./vm-disks.ts";

const gibibyte = 1024 ** 3;

/** What is told of it. */
export interface LiveDisksView {
  readonly guest: GuestDisks;
  /** What could not be done. */
  readonly problem: string | undefined;
}

export interface LiveDisksDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly disks: InstanceDisks;
  readonly state: Pick<Watch<InstanceState>, "value" | "until">;
  readonly volumes: Pick<VolumeKeeper, "find">;
  readonly images: CdromImages;
  readonly directory: string;
  /** The user of its process; undefined: that of the manager. */
  readonly uid: number | undefined;
}

type Wish = Pick<DesiredVm, "spec" | "image" | "volumeIds" | "cdromImages" | "disksIndex">;

export class LiveDisks {
  /** Undefined for a VM without disks, and before it was looked. */
  readonly view = new Watch<LiveDisksView | undefined>(undefined);
  readonly #deps: LiveDisksDeps;
  readonly #loop: AlignLoop<Wish>;
  readonly #arriving: ArrivingMedia;
  /** Disks that the guest was asked for and still has: it may let go of one after it is wanted again. */
  readonly #asked = new Set<string>();

  constructor(deps: LiveDisksDeps) {
    this.#deps = deps;
    this.#loop = new AlignLoop<Wish>({
      ...deps,
      states: standing,
      warning: "the disks of a VM are not as they are wanted",
      align: (wish, signal) => this.#align(wish, signal),
      mayChange: () => this.#asked.size > 0,
    });
    this.#arriving = new ArrivingMedia(deps.images, deps, () => this.look());
  }

  /** Level-triggered. */
  want({ spec, image, volumeIds, cdromImages, disksIndex }: Wish): void {
    const named = { ...(volumeIds && { volumeIds }), ...(cdromImages && { cdromImages }) };
    this.#loop.want({ spec, image, ...named, ...(disksIndex && { disksIndex }) });
  }

  /** A volume of this node may be larger than before. */
  look(): void {
    this.#loop.look();
  }

  async close(): Promise<void> {
    await this.#loop.close();
    await this.#arriving.close();
  }

  /** Resolves with what could not be done. */
  async #align(wish: Wish, signal: AbortSignal): Promise<string | undefined> {
    const { disks } = this.#deps;
    const wanted = disksOf(wish.spec, wish.image);
    const had = (await disks.list()).map(({ name }) => name);
    for (const name of this.#asked) if (!had.includes(name)) this.#asked.delete(name);
    const problems: string[] = [];
    const tried = async (name: string, verb: string, step: () => Promise<void>, what = "disk") => {
      // Each step may wait for a process that does not answer.
      if (signal.aborted) return;
      try {
        await step();
      } catch (error) {
        problems.push(`the ${what} ${name} cannot be ${verb}: ${messageOf(error)}`);
      }
    };
    for (const name of had) {
      if (!wanted.some((disk) => disk.name === name)) await tried(name, "detached", () => this.#detach(name, signal));
    }
    for (const disk of wanted) {
      const { name, volume } = disk;
      if (!had.includes(name) && volume !== undefined) {
        await tried(name, "attached", () => this.#attach(name, wish.volumeIds?.get(volume)));
      }
      await tried(name, "made larger", () => this.#grow(disk, wish));
      const { iops = 0, bytesPerSecond = 0 } = disk;
      await tried(name, "limited", () => disks.limit(name, { iops, bytesPerSecond }));
    }
    for (const cdrom of wish.spec.cdroms ?? []) {
      await tried(cdrom.name, "changed", () => this.#changeMedium(cdrom, wish), "CD-ROM drive");
    }
    const problem = problems.length === 0 ? undefined : problems.join("; ");
    const { disksIndex: index = 0 } = wish;
    const placeOf = ({ name }: { readonly name: string }) => wanted.findIndex((disk) => disk.name === name);
    const guest = { index, disks: [...(await disks.list())].sort((a, b) => placeOf(a) - placeOf(b)) };
    const view = index === 0 && guest.disks.length === 0 && problem === undefined ? undefined : { guest, problem };
    if (!isDeepStrictEqual(view, this.view.value)) this.view.set(view);
    return problem;
  }

  async #attach(name: string, volumeId: string | undefined): Promise<void> {
    const { disks, directory, uid, volumes } = this.#deps;
    const file = volumeId === undefined ? undefined : await volumes.find(volumeId);
    if (file === undefined) throw new Error("the volume is not on this node");
    const linked = await linkVolume(directory, { name }, file);
    for (const disk of await bringDisks([linked], uid)) await disks.attach(disk);
  }

  /** A drive that the process does not have comes with its next start. */
  async #changeMedium(cdrom: VmCdrom, wish: Wish): Promise<void> {
    const { disks, directory } = this.#deps;
    const found = (await disks.cdroms()).find(({ name }) => name === cdrom.name);
    if (found === undefined) return;
    const medium = mediumOf(cdrom, wish);
    const file = medium?.file;
    const isThere = await this.#arriving.want(cdrom.name, file === found.path ? undefined : medium);
    if (!isThere) return;
    if (file !== found.path) await disks.changeMedium({ name: cdrom.name, path: file });
    await removeOtherMedia(directory, cdrom, file);
  }

  async #detach(name: string, signal: AbortSignal): Promise<void> {
    this.#asked.add(name);
    await this.#deps.disks.detach(name, signal);
    await unlinkVolume(this.#deps.directory, name);
  }

  async #grow({ name, sizeGiB, volume }: VmDisk, { volumeIds }: Wish): Promise<void> {
    const { disks, volumes } = this.#deps;
    if (volume === undefined) {
      if (sizeGiB !== undefined) await disks.grow(name, sizeGiB * gibibyte);
      return;
    }
    // As large as its keeper has made it, who alone decides that.
    const volumeId = volumeIds?.get(volume);
    const file = volumeId === undefined ? undefined : await volumes.find(volumeId);
    if (file !== undefined) await disks.grow(name, (await stat(file)).size);
  }
}

/** States in which an instance answers. */
const standing: ReadonlySet<InstanceState["type"]> = new Set(["running", "paused", "io-error"]);
