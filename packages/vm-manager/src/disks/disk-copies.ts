/**
 * The disks of VMs that go from node to node. A VM that stands still here may be read, and what another node has is put aside
 * until the VM is of this node:
 *
 *     incoming/VM-EPOCH/index.json      which files there are
 *     incoming/VM-EPOCH/disk-NAME.raw   on its way; a transfer goes on with what it finds
 *     incoming/VM-EPOCH/volume-ID.raw   a volume, likewise; volume-ID.SNAPSHOT.raw a snapshot of it
 *     incoming/VM-EPOCH/complete.json   written when all of it is here, verified and durable
 */
import { mkdir, readdir, readFile, rm, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { fromUtf8, notApplied, systemErrorCodeOf } from "@blixard/common";
import { renameDurable, writeFileDurable } from "@blixard/common/system";
import { type DiskIndex, diskIndexSchema } from "@blixard/protocol";
import { type OpenBlob, readPiece } from "../open-blob.ts";
import { diskNameOf, findDisk, removeOtherFiles } from "./vm-disks.ts";

/** Which disks: those of a VM, as they were in the epoch in which they were held. */
export interface CopyKey {
  readonly vmId: string;
  readonly epoch: number;
}

/** What has to come, and from which node. */
interface WantedDisks {
  readonly source: number;
  readonly names: readonly string[];
  readonly volumeFiles?: readonly string[];
}

export interface CopyProgress {
  readonly doneBytes: number;
  readonly wholeBytes: number;
  /** Since the transfer began. */
  readonly receivedBytes: number;
}

/** Fetches a part of the disks from a node into a file, and goes on with what is there. */
export type FetchDiskPart = (
  part: CopyKey & { readonly part: DiskPart; readonly source: number; readonly sizeBytesMax: number },
  path: string,
  options: {
    readonly signal: AbortSignal;
    readonly onProgress: (verifiedBytes: number) => void;
    readonly onMissing: (missingBytes: number) => Promise<void>;
  },
) => Promise<void>;

/** The list of the files, or one of them by its place in it. */
export type DiskPart = "index" | number;

const indexFile = "index.json";
const completeFile = "complete.json";
const indexBytesMax = 64 * 1024;
/** What a copy leaves free on the file system of the disks. */
const spareBytes = 64 * 1024 ** 2;

export class DiskCopies {
  readonly #directory: string;
  readonly #fetch: FetchDiskPart;

  constructor(directory: string, fetch: FetchDiskPart) {
    this.#directory = directory;
    this.#fetch = fetch;
  }

  /**
   * Takes the disks of a VM from another node, and resolves with their names when all of them are here.
   * @throws NO_CAPACITY, CONFLICT where it is of no use to try again
   */
  async receive(
    { source, names, volumeFiles = [], ...key }: CopyKey & WantedDisks,
    options: { readonly signal: AbortSignal; readonly onProgress: (progress: CopyProgress) => void },
  ): Promise<string[]> {
    const directory = this.#directoryOf(key);
    const complete = await readIndex(join(directory, completeFile));
    if (complete !== undefined) return namesOf(complete);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const { signal } = options;
    const whole = { vmId: key.vmId, epoch: key.epoch, source };
    const quiet = { signal, onProgress: () => {}, onMissing: async () => {} };
    const indexPath = join(directory, indexFile);
    await this.#fetch({ ...whole, part: "index", sizeBytesMax: indexBytesMax }, indexPath, quiet);
    const index = await readIndex(indexPath);
    if (index === undefined) throw notApplied("CONFLICT", `node ${source} gives no list of disks that can be read`);
    const present = index.files.map(({ name }) => name);
    const missing = [
      ...names.filter((name) => !namesOf(index).includes(name)).map((name) => `disk ${name}`),
      ...volumeFiles.filter((file) => !present.includes(volumeFileOf(file))).map((file) => `volume ${file}`),
    ];
    if (missing.length > 0) {
      throw notApplied("CONFLICT", `the ${missing.join(", ")} is not on node ${source} any more`);
    }
    await this.#receiveFiles(directory, whole, index, options);
    await writeFileDurable(join(directory, completeFile), JSON.stringify(index));
    return namesOf(index);
  }

  async #receiveFiles(
    directory: string,
    whole: CopyKey & { readonly source: number },
    { files }: DiskIndex,
    { signal, onProgress }: { readonly signal: AbortSignal; readonly onProgress: (progress: CopyProgress) => void },
  ): Promise<void> {
    const wholeBytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    let beforeBytes = 0;
    let receivedBytes = 0;
    for (const [part, { name, sizeBytes }] of files.entries()) {
      let seenBytes: number | undefined;
      await this.#fetch({ ...whole, part, sizeBytesMax: sizeBytes }, join(directory, name), {
        signal,
        onMissing: (bytes) => assertRoom(directory, bytes),
        onProgress: (bytes) => {
          receivedBytes += seenBytes === undefined ? 0 : bytes - seenBytes;
          seenBytes = bytes;
          onProgress({ doneBytes: beforeBytes + bytes, wholeBytes, receivedBytes });
        },
      });
      beforeBytes += sizeBytes;
    }
  }

  /** Puts what has come into the directory of the VM. Gives the names of its disks; undefined when nothing waits. */
  async install(key: CopyKey, directory: string): Promise<string[] | undefined> {
    const incoming = this.#directoryOf(key);
    const index = await readIndex(join(incoming, completeFile));
    if (index === undefined) return undefined;
    for (const { name } of index.files.filter(isOfVm)) {
      const from = join(incoming, name);
      if (!(await isThere(from))) continue;
      // What the VM left here when it was here before is older.
      await removeOtherFiles(directory, name);
      await renameDurable(from, join(directory, name));
    }
    return namesOf(index);
  }

  /**
   * Puts a volume that has come into its place, with its snapshots, over what an earlier stay has left there; nothing happens
   * when none waits.
   */
  async installVolume(key: CopyKey, volumeId: string, directory: string): Promise<void> {
    const incoming = this.#directoryOf(key);
    const index = await readIndex(join(incoming, completeFile));
    const names = index?.files.map(({ name }) => name).filter((name) => name.startsWith(`volume-${volumeId}.`)) ?? [];
    if (names.length === 0) return;
    await mkdir(directory, { recursive: true, mode: 0o700 });
    for (const name of names) {
      try {
        await renameDurable(join(incoming, name), join(directory, name.slice("volume-".length)));
      } catch (error) {
        // It is in its place already.
        if (systemErrorCodeOf(error) !== "ENOENT") throw error;
      }
    }
  }

  /** Nothing of it is put aside any more. */
  async forget(key: CopyKey): Promise<void> {
    await rm(this.#directoryOf(key), { recursive: true, force: true });
  }

  /** Forgets what nobody waits for any more. */
  async keepOnly(keys: readonly CopyKey[]): Promise<void> {
    const kept = new Set(keys.map(nameOf));
    const present = await readdir(this.#directory).catch((error: unknown): string[] => {
      if (systemErrorCodeOf(error) === "ENOENT") return [];
      throw error;
    });
    for (const name of present) {
      if (kept.has(name)) continue;
      await rm(join(this.#directory, name), { recursive: true, force: true });
    }
  }

  #directoryOf(key: CopyKey): string {
    return join(this.#directory, nameOf(key));
  }
}

function nameOf({ vmId, epoch }: CopyKey): string {
  return `${vmId.toLowerCase()}-${epoch}`;
}

/**
 * A part of the disks with these names in the directory of a VM, and then of its volumes, whose files are given by their names;
 * undefined for one that there is not.
 */
export async function openDiskPart(
  directory: string,
  names: readonly string[],
  part: DiskPart,
  volumes: ReadonlyMap<string, string> = new Map(),
): Promise<OpenBlob | undefined> {
  const found: { readonly name: string; readonly path: string }[] = [];
  for (const name of [...names].sort()) {
    const disk = await findDisk(directory, name);
    if (disk !== undefined) found.push({ name: disk.file, path: join(directory, disk.file) });
  }
  for (const [file, path] of [...volumes].sort(([a], [b]) => (a < b ? -1 : 1))) {
    found.push({ name: volumeFileOf(file), path });
  }
  if (part !== "index") {
    const file = found[part];
    if (file === undefined) return undefined;
    const { size } = await stat(file.path);
    return { sizeBytes: size, read: (offset, length) => readPiece(file.path, offset, length) };
  }
  const files: DiskIndex["files"] = [];
  for (const { name, path } of found) files.push({ name, sizeBytes: (await stat(path)).size });
  return blobOf(fromUtf8(JSON.stringify({ files } satisfies DiskIndex)));
}

function volumeFileOf(file: string): string {
  return `volume-${file}.raw`;
}

function isOfVm({ name }: DiskIndex["files"][number]): boolean {
  return !name.startsWith("volume-");
}

function blobOf(bytes: Uint8Array): OpenBlob {
  return { sizeBytes: bytes.length, read: async (offset, length) => bytes.slice(offset, offset + length) };
}

function namesOf({ files }: DiskIndex): string[] {
  return files.filter(isOfVm).map(({ name }) => diskNameOf(name));
}

async function readIndex(path: string): Promise<DiskIndex | undefined> {
  try {
    return diskIndexSchema.safeParse(JSON.parse(await readFile(path, "utf8"))).data;
  } catch (error) {
    if (systemErrorCodeOf(error) === "ENOENT" || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

async function isThere(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

/** @throws NO_CAPACITY */
async function assertRoom(directory: string, neededBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(directory);
  const freeBytes = bavail * bsize;
  if (freeBytes >= neededBytes + spareBytes) return;
  throw notApplied("NO_CAPACITY", `${neededBytes} bytes of its disks are to come, and ${freeBytes} are free`);
}
