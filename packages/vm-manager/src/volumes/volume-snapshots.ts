/**
 * The snapshots of the volumes of a node: copies beside them, which take room only where the volume did, and none where the
 * file system shares blocks. Each is made, and restored, under another name until it is whole: a node that is killed meanwhile
 * has what it had, and does it again. While a VM runs with the volume its process makes the copy.
 */
import { join } from "node:path";
import { errorCodeOf, messageOf } from "@blixard/common";
import { removeDurable } from "@blixard/common/system";
import { limits, type VolumeSnapshot } from "@blixard/protocol";
import type { CopyRunning } from "../disks/running-volume.ts";
import { bytesOf, copyVolume, lookAtVolume } from "./copy-volume.ts";

/** A snapshot, as the replicated state wants it. */
interface DesiredSnapshot {
  readonly snapshotId: string;
  readonly sizeGiB: number;
  readonly wasMade: boolean;
  readonly isDeleted: boolean;
}

export interface SnapshotWish {
  readonly volumeId: string;
  readonly epoch: number;
  readonly sizeGiB: number;
  readonly snapshots?: readonly DesiredSnapshot[];
  /** The one whose content the volume is to have again. */
  readonly restoring?: string;
}

/** `busy`: it is being worked on; else it is done, or could not be done because of the problem. */
type Seen = { readonly busy: true } | ({ readonly busy: false } & Ended);

interface Ended {
  readonly problem?: string;
  /** What the snapshot that was made shows. */
  readonly shows?: NonNullable<VolumeSnapshot["shows"]>;
}

interface Step {
  /** Of a snapshot: the volume, with which a VM may run. */
  readonly volumeId?: string;
  readonly from: string;
  readonly to: string;
  readonly sizeBytes: number;
}

interface Work {
  readonly ending: AbortController;
  readonly done: Promise<void>;
}

const gibibyte = 1024 ** 3;
const inUse = "a VM runs with the volume";

export class VolumeSnapshots {
  readonly #directory: string;
  readonly #onDone: () => void;
  readonly #running = new Map<string, Work>();
  readonly #copyRunning: CopyRunning;
  /** What has ended, by what it was and as of which epoch. */
  readonly #ended = new Map<string, Ended>();

  /** `onDone` is told when something was done, or could not be done. */
  constructor(directory: string, copyRunning: CopyRunning, onDone: () => void) {
    this.#directory = directory;
    this.#copyRunning = copyRunning;
    this.#onDone = onDone;
  }

  fileOf(volumeId: string, snapshotId: string): string {
    return join(this.#directory, `${volumeId}.${snapshotId}.raw`);
  }

  /** One step towards what is wanted. `path`: the file of the volume. */
  async look(path: string, { volumeId, epoch, sizeGiB, snapshots = [], restoring }: SnapshotWish): Promise<Seen> {
    for (const key of [...this.#ended.keys()]) {
      if (key.startsWith(volumeId) && !key.endsWith(`@${epoch}`)) this.#ended.delete(key);
    }
    let made: Ended = {};
    for (const { snapshotId, sizeGiB: madeGiB, wasMade, isDeleted } of snapshots) {
      const file = this.fileOf(volumeId, snapshotId);
      const key = `${volumeId}.${snapshotId}@${epoch}`;
      if (isDeleted) await removeDurable(file);
      else if (!wasMade && (await bytesOf(file)) === undefined) {
        return await this.#step(key, { volumeId, from: path, to: file, sizeBytes: madeGiB * gibibyte });
      } else if (!wasMade && this.#running.has(key)) return { busy: true };
      else if (!wasMade) made = this.#ended.get(key) ?? {};
    }
    if (restoring === undefined) return { busy: false, ...made };
    const from = this.fileOf(volumeId, restoring);
    const key = `${volumeId}@${epoch}`;
    if (!this.#ended.has(key) && (await bytesOf(from)) === undefined) {
      return { busy: false, problem: "the file of the snapshot is not on its node any more" };
    }
    return await this.#step(key, { from, to: path, sizeBytes: sizeGiB * gibibyte });
  }

  /** Nothing of the snapshots of a volume is worked on any more. */
  async end(volumeId: string): Promise<void> {
    const own = [...this.#running].filter(([key]) => key.startsWith(volumeId));
    for (const [, { ending }] of own) ending.abort();
    await Promise.all(own.map(([, { done }]) => done));
    for (const key of [...this.#ended.keys()]) if (key.startsWith(volumeId)) this.#ended.delete(key);
  }

  async close(): Promise<void> {
    for (const { ending } of this.#running.values()) ending.abort();
    await Promise.all([...this.#running.values()].map(({ done }) => done));
  }

  async #step(key: string, { volumeId, from, to, sizeBytes }: Step): Promise<Seen> {
    const ended = this.#ended.get(key);
    if (ended !== undefined) return { busy: false, ...ended };
    if (this.#running.has(key)) return { busy: true };
    const ending = new AbortController();
    const { signal } = ending;
    const work = async (): Promise<Ended> => {
      // Of a snapshot.
      const shows = volumeId === undefined ? undefined : await this.#copyRunning(volumeId, to, { sizeBytes, signal });
      if (shows !== undefined) return { shows };
      // Of a restore: the volume itself is what must not be in use.
      if ((await bytesOf(to)) !== undefined) await lookAtVolume(to, inUse);
      await copyVolume(from, to, { sizeBytes, signal });
      return volumeId === undefined ? {} : { shows: "stopped" };
    };
    const done = work()
      .then(
        (made) => void this.#ended.set(key, made),
        (error: unknown) => {
          // Its VM is about to end: it is tried again.
          if (signal.aborted || errorCodeOf(error) === "CONFLICT") return;
          this.#ended.set(key, { problem: messageOf(error).slice(0, limits.placementLengthMax) });
        },
      )
      .finally(() => {
        this.#running.delete(key);
        if (this.#ended.has(key)) this.#onDone();
      });
    this.#running.set(key, { ending, done });
    return { busy: true };
  }
}
