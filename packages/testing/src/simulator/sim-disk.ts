/** The disk of one simulated machine: three databases and the vote file, and what is wrong with it at the moment. */
import { type Random, toHex } from "@blixard/common";
import { openStoresOver, type VoteDisk } from "@blixard/storage/level";
import { between, chance, integer } from "./seeds.ts";
import { type CrashMode, DatabaseFiles, type DiskConditions, SimDatabase } from "./sim-database.ts";
import type { SimProcess } from "./sim-process.ts";

export type DiskPart = "log" | "snapshots" | "state";

const syncMsMin = 0.1;
const syncMsMax = 2;
/** One sync in so many takes up to a hundred times as long, as on any disk that others use too. */
const slowSyncShare = 0.01;
/** Long enough that a node gives its disk up. */
const stuckMsMax = 25_000;
const sectorBytes = 16;
const storeIdBytes = 16;

/** A copy of everything on a disk, as a backup or a snapshot of a machine holds it. */
export interface DiskCopy {
  readonly storeId: string;
  readonly parts: Readonly<Record<DiskPart, ReadonlyMap<string, Buffer>>>;
  readonly vote: Buffer;
}

export class SimDisk implements DiskConditions {
  readonly #random: Random;
  readonly #parts: Record<DiskPart, DatabaseFiles> = {
    log: new DatabaseFiles(),
    snapshots: new DatabaseFiles(),
    state: new DatabaseFiles(),
  };
  readonly #vote = new VoteBytes();
  /** Every sync takes so many times as long. */
  slowness = 1;
  full = false;
  /** True once a bit was flipped: only then may a node find its data damaged. */
  rotten = false;
  /** True once anything was wrong with it: only then may a node blame it. */
  wasHurt = false;
  /** True while it holds an older copy of itself: the node has promised things that are not on it. */
  outdated = false;
  /** Writes and syncs that are to fail, from the next one on. */
  syncErrors = 0;
  #storeId: string;

  constructor(random: Random) {
    this.#random = random;
    this.#storeId = toHex(random.bytes(storeIdBytes));
  }

  get isWell(): boolean {
    return this.slowness === 1 && !this.full && this.syncErrors === 0;
  }

  syncMs(): number {
    const factor = chance(this.#random, slowSyncShare) ? 100 * this.#random.next() : 1;
    return Math.min(stuckMsMax, between(this.#random, syncMsMin, syncMsMax) * this.slowness * factor);
  }

  isFull(): boolean {
    return this.full;
  }

  takeSyncError(): boolean {
    if (this.syncErrors === 0) return false;
    this.syncErrors--;
    return true;
  }

  /** The real stores, over the files of this disk. */
  async open(process: SimProcess) {
    const database = (part: DiskPart) => new SimDatabase(this.#parts[part], process, this);
    const stores = await openStoresOver({
      log: database("log"),
      snapshots: database("snapshots"),
      state: database("state"),
      voteFile: this.#vote.open(process, this),
      location: `node-${process.nodeId}`,
    });
    return { ...stores, storeId: this.#storeId };
  }

  /** Moves the store out of the way, as `blixard recover` does: what is opened next is a new one. */
  wipe(): void {
    const empty = new Map<string, Buffer>();
    const parts = { log: empty, snapshots: empty, state: empty };
    this.restore({ storeId: toHex(this.#random.bytes(storeIdBytes)), parts, vote: Buffer.alloc(0) });
    this.rotten = false;
    this.outdated = false;
  }

  copy(): DiskCopy {
    const { log, snapshots, state } = this.#parts;
    const parts = { log: log.contents(), snapshots: snapshots.contents(), state: state.contents() };
    return { storeId: this.#storeId, parts, vote: this.#vote.contents() };
  }

  /** While no process has it open. */
  restore({ storeId, parts, vote }: DiskCopy): void {
    this.#storeId = storeId;
    for (const part of ["log", "snapshots", "state"] as const) this.#parts[part].replaceWith(parts[part]);
    this.#vote.replaceWith(vote);
  }

  crash(mode: CrashMode): void {
    for (const files of Object.values(this.#parts)) files.crash(mode, this.#random);
    this.#vote.crash(mode, this.#random);
  }

  /** Flips one bit of one value, if there is any. */
  rot(part: DiskPart): void {
    if (this.#parts[part].rot(this.#random)) this.rotten = true;
  }
}

/** The vote file: small writes in place, which a power cut may cut anywhere between two sectors. */
class VoteBytes {
  #durable: Buffer = Buffer.alloc(0);
  #now: Buffer = Buffer.alloc(0);

  open(process: SimProcess, disk: DiskConditions): VoteDisk {
    return {
      read: (into, offset, lengthBytes, position) => {
        const bytesRead = this.#now.copy(into, offset, position, position + lengthBytes);
        return Promise.resolve({ bytesRead });
      },
      write: (from, offset, lengthBytes, position) => {
        if (!process.alive) return new Promise(() => {});
        if (disk.isFull()) return Promise.reject(new Error("ENOSPC: no space left on device, write"));
        const grown = Buffer.alloc(Math.max(this.#now.length, position + lengthBytes));
        this.#now.copy(grown);
        from.copy(grown, position, offset, offset + lengthBytes);
        this.#now = grown;
        return Promise.resolve();
      },
      datasync: () =>
        new Promise((resolve, reject) => {
          process.after(disk.syncMs(), () => {
            if (disk.takeSyncError()) return reject(new Error("EIO: i/o error, fdatasync"));
            this.#durable = Buffer.from(this.#now);
            resolve();
          });
        }),
      close: () => Promise.resolve(),
    };
  }

  contents(): Buffer {
    return Buffer.from(this.#now);
  }

  replaceWith(contents: Buffer): void {
    this.#durable = Buffer.from(contents);
    this.#now = Buffer.from(contents);
  }

  crash(mode: CrashMode, random: Random): void {
    if (mode === "lost") this.#now = Buffer.from(this.#durable);
    if (mode === "prefix" || mode === "reordered") this.#now = this.#torn(mode, random);
    this.#durable = Buffer.from(this.#now);
  }

  #torn(mode: CrashMode, random: Random): Buffer {
    const torn = Buffer.alloc(this.#now.length);
    this.#durable.copy(torn);
    const sectors = Math.ceil(torn.length / sectorBytes);
    const kept = integer(random, 0, sectors);
    for (let sector = 0; sector < sectors; sector++) {
      const survives = mode === "prefix" ? sector < kept : chance(random, 0.5);
      if (survives) this.#now.copy(torn, sector * sectorBytes, sector * sectorBytes, (sector + 1) * sectorBytes);
    }
    return torn;
  }
}
