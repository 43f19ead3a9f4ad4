/**
 * The volumes of one node: raw files by their id (snapshots beside them: `ID.SNAPSHOT.raw`), which take room only where they were
 * written to. One that was made once is never made anew; one that the cluster does not name any more is left alone, because only a
 * deletion deletes.
 */
import { existsSync } from "node:fs";
import { mkdir, open, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { assert, type Clock, firstOf, type Logger, messageOf, notApplied, sleep, Watch } from "@blixard/common";
import { removeDurable, renameDurable } from "@blixard/common/system";
import type { VolumeObservation } from "@blixard/protocol";
import type { CopyKey, DiskCopies } from "../disks/disk-copies.ts";
import type { CopyRunning } from "../disks/running-volume.ts";
import { bytesOf, copyVolume } from "./copy-volume.ts";
import { importFileOf, readVolumePiece, VolumeImports, type VolumePiece } from "./volume-bytes.ts";
import { type SnapshotWish, VolumeSnapshots } from "./volume-snapshots.ts";

/** A volume of this node, as the replicated state wants it. */
export interface DesiredVolume extends SnapshotWish {
  /** This node has said that it had made it: it is missing when it is not here. */
  readonly wasMade: boolean;
  readonly isDeleted: boolean;
  /** It is made as a copy of this one. Default: empty. */
  readonly sourceId?: string;
  /** It is made of what is written to it through `bytes`. */
  readonly isImported?: boolean;
  /** It came from another node with this copy, and is put into its place from there. */
  readonly came?: CopyKey;
}

/** What is on the volumes of a node, by their ids. */
export interface VolumeBytes {
  /** @throws NOT_FOUND, CONFLICT while a VM runs with it */
  read(volumeId: string, place: { readonly offset: number; readonly bytesMax: number }): Promise<VolumePiece>;
  /** Takes the next piece of one that is imported. @throws CONFLICT, NO_CAPACITY, VALUE_TOO_LARGE */
  write(
    volumeId: string,
    piece: { readonly offset: number; readonly data: Uint8Array; readonly sizeBytes: number },
  ): Promise<number>;
  /** All pieces have come. @throws INVALID_ARGUMENT for another digest */
  finish(volumeId: string, wanted: { readonly digest: string; readonly sizeBytes: number }): Promise<void>;
}

interface VolumeKeeperDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly copies: Pick<DiskCopies, "installVolume">;
  readonly copyRunning: CopyRunning;
}

interface RunningCopy {
  readonly ending: AbortController;
  readonly done: Promise<void>;
}

const gibibyte = 1024 ** 3;
const volumeIdPattern = /^[0-9a-f-]{36}$/i;
/** How often it is looked whether the files are there; a change of the wishes makes it look at once. */
const lookIntervalMs = 10_000;
const errorRetryMs = 1_000;

export class VolumeKeeper {
  readonly observations = new Watch<ReadonlyMap<string, VolumeObservation>>(new Map());
  readonly #deps: VolumeKeeperDeps;
  readonly #directory: string;
  readonly #desired = new Watch<readonly DesiredVolume[]>([]);
  /** What is on its volumes. */
  readonly bytes: VolumeBytes = {
    read: async (volumeId, place) => {
      const path = await this.find(volumeId);
      if (path === undefined) throw notApplied("NOT_FOUND", "the file of the volume is not on this node");
      return await readVolumePiece(path, place);
    },
    write: (volumeId, piece) => this.#imports.write(this.#pathOf(volumeId), piece),
    finish: async (volumeId, wanted) => {
      // It was finished before, and nobody has told the caller.
      if ((await this.find(volumeId)) === undefined) {
        await this.#imports.finish(this.#pathOf(volumeId), wanted, this.#closing.signal);
      }
      this.#copied.update((count) => count + 1);
    },
  };
  readonly #imports = new VolumeImports();
  readonly #snapshots: VolumeSnapshots;
  /** Grows when a copy or an import has ended. */
  readonly #copied = new Watch(0);
  readonly #copies = new Map<string, RunningCopy>();
  /** What was told last: it is tried again each second. */
  #copyProblem: string | undefined;
  readonly #closing = new AbortController();
  readonly #loop: Promise<void>;

  constructor(deps: VolumeKeeperDeps, directory: string) {
    this.#deps = deps;
    this.#directory = directory;
    this.#snapshots = new VolumeSnapshots(directory, deps.copyRunning, () => this.#copied.update((count) => count + 1));
    this.#loop = this.#run();
  }

  /** Replaces the set of volumes of this node; level-triggered. */
  setDesired(volumes: readonly DesiredVolume[]): void {
    this.#desired.set(volumes);
  }

  /** The file of a volume that is here; undefined when it is not. */
  async find(volumeId: string): Promise<string | undefined> {
    const path = this.#pathOf(volumeId);
    return (await bytesOf(path)) === undefined ? undefined : path;
  }

  /** Those files of volumes and snapshots that are here, by their names: the id of a volume, and behind it that of a snapshot. */
  async filesOf(names: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const files = new Map<string, string>();
    for (const name of names) {
      const [volumeId = "", snapshotId] = name.split(".");
      const volume = this.#pathOf(volumeId);
      const path = snapshotId === undefined ? volume : this.#snapshots.fileOf(volumeId, snapshotId);
      if ((await bytesOf(path)) !== undefined) files.set(name, path);
    }
    return files;
  }

  /** Puts a volume that came with the disks of a VM into its place, where it waits for that: before its VM starts. */
  async take(volumeId: string, came: CopyKey): Promise<void> {
    await this.#deps.copies.installVolume(came, volumeId, this.#directory);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#loop;
    for (const volumeId of this.#copies.keys()) await this.#endCopy(volumeId);
    await this.#snapshots.close();
  }

  async #run(): Promise<void> {
    const { clock, logger } = this.#deps;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      const wanted = this.#desired.value;
      const copied = this.#copied.value;
      let delayMs = lookIntervalMs;
      for (const volume of wanted) {
        try {
          const seen = await this.#look(volume);
          if (seen === undefined) delayMs = errorRetryMs;
          else this.#publish(seen);
        } catch (error) {
          logger.log("warn", "a volume cannot be looked after", { volumeId: volume.volumeId, error: messageOf(error) });
          delayMs = errorRetryMs;
        }
      }
      this.#forgetOthers(wanted);
      await firstOf(signal, (until) => [
        this.#desired.until((value) => value !== wanted, { signal: until }),
        this.#copied.until((count) => count !== copied, { signal: until }),
        sleep(clock, delayMs, until),
      ]).catch(() => {});
    }
  }

  /** Resolves with nothing while it is being copied or imported, or a snapshot of it is worked on. */
  async #look(wish: DesiredVolume): Promise<VolumeObservation | undefined> {
    const { volumeId, epoch, sizeGiB, wasMade, isDeleted, sourceId, isImported = false, came } = wish;
    const path = this.#pathOf(volumeId);
    if (isDeleted) {
      await this.#endCopy(volumeId);
      await this.#snapshots.end(volumeId);
      await rm(importFileOf(path), { force: true });
      for (const name of await readdir(this.#directory).catch((): string[] => [])) {
        // Its snapshots, of which the state need not know any more.
        if (name.startsWith(`${volumeId}.`) && name !== `${volumeId}.raw`) await rm(join(this.#directory, name));
      }
      await removeDurable(path);
      return { volumeId, epoch, state: "deleted", sizeGiB: 0 };
    }
    if (came !== undefined) await this.take(volumeId, came);
    const bytes = await bytesOf(path);
    if (bytes === undefined && wasMade) return { volumeId, epoch, state: "missing", sizeGiB: 0 };
    if (bytes === undefined && sourceId !== undefined) {
      this.#beginCopy(volumeId, sourceId, sizeGiB * gibibyte);
      return undefined;
    }
    if (bytes === undefined && isImported) return undefined;
    if (bytes === undefined) await this.#make(path, sizeGiB * gibibyte);
    else if (bytes < sizeGiB * gibibyte) await grow(path, sizeGiB * gibibyte);
    const seen = await this.#snapshots.look(path, wish);
    if (seen.busy) return undefined;
    return {
      volumeId,
      epoch,
      state: "ready",
      sizeGiB,
      ...(seen.problem === undefined ? {} : { problem: seen.problem }),
      ...(seen.shows === undefined ? {} : { shows: seen.shows }),
    };
  }

  async #make(path: string, sizeBytes: number): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const temporary = `${path}.tmp`;
    await rm(temporary, { force: true });
    const file = await open(temporary, "wx", 0o600);
    try {
      await file.truncate(sizeBytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await renameDurable(temporary, path);
  }

  #beginCopy(volumeId: string, sourceId: string, sizeBytes: number): void {
    if (this.#copies.has(volumeId)) return;
    const ending = new AbortController();
    const path = this.#pathOf(volumeId);
    const done = copyVolume(this.#pathOf(sourceId), path, { sizeBytes, signal: ending.signal })
      .catch((error: unknown) => {
        const problem = `${volumeId}: ${messageOf(error)}`;
        if (ending.signal.aborted || problem === this.#copyProblem) return;
        this.#copyProblem = problem;
        this.#deps.logger.log("warn", "a volume cannot be copied yet", { volumeId, error: messageOf(error) });
      })
      .finally(() => {
        this.#copies.delete(volumeId);
        // One that could not be made is tried again at the next look.
        if (!ending.signal.aborted && existsSync(path)) this.#copied.update((count) => count + 1);
      });
    this.#copies.set(volumeId, { ending, done });
  }

  async #endCopy(volumeId: string): Promise<void> {
    const copy = this.#copies.get(volumeId);
    copy?.ending.abort();
    await copy?.done;
  }

  #publish(observation: VolumeObservation): void {
    const before = this.observations.value.get(observation.volumeId);
    if (isDeepStrictEqual(before, observation)) return;
    this.observations.update((seen) => new Map(seen).set(observation.volumeId, observation));
  }

  #forgetOthers(wanted: readonly DesiredVolume[]): void {
    const ids = new Set(wanted.map(({ volumeId }) => volumeId));
    const left = [...this.observations.value].filter(([volumeId]) => ids.has(volumeId));
    if (left.length < this.observations.value.size) this.observations.set(new Map(left));
  }

  #pathOf(volumeId: string): string {
    assert(volumeIdPattern.test(volumeId), "a volume id becomes a file name");
    return join(this.#directory, `${volumeId}.raw`);
  }
}

async function grow(path: string, sizeBytes: number): Promise<void> {
  const file = await open(path, "r+");
  try {
    await file.truncate(sizeBytes);
    await file.sync();
  } finally {
    await file.close();
  }
}
