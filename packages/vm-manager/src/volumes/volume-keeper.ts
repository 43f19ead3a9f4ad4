/**
 * The volumes of one node: raw files by their id, which take room only where they were written to. One that was made once is
 * never made anew; one that the cluster does not name any more is left alone, because only a deletion deletes.
 */
import { mkdir, open, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { assert, type Clock, type Logger, messageOf, systemErrorCodeOf, Watch } from "@blixard/common";
import { removeDurable, renameDurable } from "@blixard/common/system";
import type { VolumeObservation } from "@blixard/protocol";

/** A volume of this node, as the replicated state wants it. */
export interface DesiredVolume {
  readonly volumeId: string;
  readonly sizeGiB: number;
  /** This node has said that it had made it: it is missing when it is not here. */
  readonly wasMade: boolean;
  readonly isDeleted: boolean;
}

const gibibyte = 1024 ** 3;
const volumeIdPattern = /^[0-9a-f-]{36}$/i;
/** How often it is looked whether the files are there; a change of the wishes makes it look at once. */
const lookIntervalMs = 10_000;
const errorRetryMs = 1_000;

export class VolumeKeeper {
  readonly observations = new Watch<ReadonlyMap<string, VolumeObservation>>(new Map());
  readonly #deps: { readonly clock: Clock; readonly logger: Logger };
  readonly #directory: string;
  readonly #desired = new Watch<readonly DesiredVolume[]>([]);
  readonly #closing = new AbortController();
  readonly #loop: Promise<void>;

  constructor(deps: { readonly clock: Clock; readonly logger: Logger }, directory: string) {
    this.#deps = deps;
    this.#directory = directory;
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

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { clock, logger } = this.#deps;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      const wanted = this.#desired.value;
      let delayMs = lookIntervalMs;
      for (const volume of wanted) {
        try {
          this.#publish(await this.#look(volume));
        } catch (error) {
          logger.log("warn", "a volume cannot be looked after", { volumeId: volume.volumeId, error: messageOf(error) });
          delayMs = errorRetryMs;
        }
      }
      this.#forgetOthers(wanted);
      const limit = { clock, delayMs };
      await this.#desired.until((value) => value !== wanted, { signal, limit }).catch(() => {});
    }
  }

  async #look({ volumeId, sizeGiB, wasMade, isDeleted }: DesiredVolume): Promise<VolumeObservation> {
    const path = this.#pathOf(volumeId);
    if (isDeleted) {
      await removeDurable(path);
      return { volumeId, state: "deleted", sizeGiB: 0 };
    }
    const bytes = await bytesOf(path);
    if (bytes === undefined && wasMade) return { volumeId, state: "missing", sizeGiB: 0 };
    if (bytes === undefined) await this.#make(path, sizeGiB * gibibyte);
    else if (bytes < sizeGiB * gibibyte) await grow(path, sizeGiB * gibibyte);
    return { volumeId, state: "ready", sizeGiB };
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

  #publish(observation: VolumeObservation): void {
    const before = this.observations.value.get(observation.volumeId);
    if (before?.state === observation.state && before.sizeGiB === observation.sizeGiB) return;
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

async function bytesOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (systemErrorCodeOf(error) === "ENOENT") return undefined;
    throw error;
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
