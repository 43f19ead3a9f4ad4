/**
 * Room on the file systems of a node, for what VMs write. Guests fill a disk at any time, and a node that cannot write its
 * log ends. So where VMs write to the file system of the node, a reserve lies there: a file that takes room.
 *
 *     none --a VM with disks is wanted here--> wanted --room for it--> kept --free < the reserve--> low
 *                                                ^                                                  |
 *                                                +--- given up <-- all that write stand still ------+
 *
 * While it is wanted and not there, VMs with disks stand still: none starts, those that run are paused. What was given up
 * is the room in which the log of the node goes on. Once there is enough room again, it is made anew, and they go on.
 * On a file system of their own VMs fill only that, and a guest that finds no room there is paused by QEMU.
 */
import { randomBytes } from "node:crypto";
import { open, rm, stat, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { type Clock, type Logger, messageOf, sleep, systemErrorCodeOf, Watch } from "@blixard/common";

export interface SpaceReserve {
  /** On the file system of the node. */
  readonly path: string;
  /** 0: no reserve. */
  readonly bytes: number;
}

export interface SpaceGuardDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Where the disks of the VMs are. */
  readonly directory: string;
  readonly reserve: SpaceReserve | undefined;
}

export interface Space {
  /** VMs with disks have to stand still. */
  readonly mustHold: boolean;
  /** A guest whose disk was full may try again. */
  readonly hasRoom: boolean;
}

/** With less there, a guest would stand still again at once. */
const roomBytesMin = 16 * 1024 * 1024;
/** Times the reserve: what has to be free for it to be made, so that as much again is left twice. */
const reserveRoomFactor = 3;
const pollMsMin = 50;
const pollMsMax = 1_000;
/** No faster does a guest write here: how soon to look again follows from it. */
const bytesPerMsMax = 2 * 1024 * 1024;
/** What does not stand still by then is not waited for: the log of the node needs the room. */
const stillMsMax = 2_000;
const chunkBytes = 1024 * 1024;

export class SpaceGuard {
  readonly space: Watch<Space>;
  readonly #deps: SpaceGuardDeps;
  readonly #closing = new AbortController();
  /** Set once VMs with disks are wanted here: whether none of them runs. */
  readonly #areStill = new Watch<(() => boolean) | undefined>(undefined);
  readonly #loop: Promise<void>;
  /** Whether VMs write to the file system of the node. */
  readonly #isShared: boolean;
  #isKept: boolean;

  private constructor(deps: SpaceGuardDeps, facts: { readonly isShared: boolean; readonly isKept: boolean }) {
    this.#deps = deps;
    this.#isShared = facts.isShared;
    this.#isKept = facts.isKept;
    this.space = new Watch<Space>({ mustHold: false, hasRoom: true });
    this.#loop = this.#run();
  }

  static async open(deps: SpaceGuardDeps): Promise<SpaceGuard> {
    const { reserve, directory } = deps;
    if (reserve === undefined || reserve.bytes === 0) {
      if (reserve !== undefined) await rm(reserve.path, { force: true });
      return new SpaceGuard(deps, { isShared: false, isKept: true });
    }
    const [node, vms] = await Promise.all([stat(dirname(reserve.path)), stat(directory)]);
    const kept = await stat(reserve.path).catch((error: unknown) => {
      if (systemErrorCodeOf(error) === "ENOENT") return undefined;
      throw error;
    });
    return new SpaceGuard(deps, { isShared: node.dev === vms.dev, isKept: kept?.size === reserve.bytes });
  }

  /** A VM with disks is wanted here: from now on there is a reserve. `areStill`: none of them runs. */
  want(areStill: () => boolean): void {
    if (this.#areStill.value !== undefined) return;
    if (!this.#isKept) this.#set({ mustHold: this.#isShared });
    this.#areStill.set(areStill);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    await this.#areStill.until((areStill) => areStill !== undefined, { signal }).catch(() => {});
    while (!signal.aborted) {
      let delayMs = pollMsMax;
      try {
        delayMs = await this.#round();
      } catch (error) {
        this.#deps.logger.log("error", "the room for VMs cannot be looked after", { error: messageOf(error) });
      }
      await sleep(this.#deps.clock, delayMs, signal).catch(() => {});
    }
  }

  /** Resolves with the time until the next one. */
  async #round(): Promise<number> {
    const { directory, reserve } = this.#deps;
    const vmFreeBytes = await freeBytes(directory);
    this.#set({ hasRoom: vmFreeBytes >= roomBytesMin });
    if (reserve === undefined || reserve.bytes === 0) return pollMsMax;
    const free = this.#isShared ? vmFreeBytes : await freeBytes(dirname(reserve.path));
    if (this.#isKept && free < reserve.bytes) await this.#giveUp(reserve);
    else if (!this.#isKept && free >= reserveRoomFactor * reserve.bytes) await this.#make(reserve);
    else if (this.#isKept) this.#set({ mustHold: false });
    const leftMs = (free - reserve.bytes) / bytesPerMsMax;
    return Math.min(pollMsMax, Math.max(pollMsMin, leftMs));
  }

  async #giveUp({ path, bytes }: SpaceReserve): Promise<void> {
    const { clock, logger } = this.#deps;
    const areStill = this.#areStill.value ?? (() => true);
    logger.log("warn", "the file system of the node is nearly full: its reserve is given up", {
      reserveMiB: bytes / chunkBytes,
      vms: this.#isShared ? "those with disks are paused until there is room" : "they write elsewhere",
    });
    if (this.#isShared) {
      this.#set({ mustHold: true });
      const untilMs = clock.monotonicMs() + stillMsMax;
      while (!areStill() && clock.monotonicMs() < untilMs && !this.#closing.signal.aborted) {
        await sleep(clock, pollMsMin, this.#closing.signal).catch(() => {});
      }
    }
    await rm(path, { force: true });
    this.#isKept = false;
  }

  async #make({ path, bytes }: SpaceReserve): Promise<void> {
    try {
      await writeReserve(path, bytes);
    } catch (error) {
      await rm(path, { force: true });
      if (systemErrorCodeOf(error) === "ENOSPC") return;
      throw error;
    }
    this.#isKept = true;
    this.#deps.logger.log("info", "the file system of the node has its reserve", { reserveMiB: bytes / chunkBytes });
    this.#set({ mustHold: false });
  }

  #set(change: Partial<Space>): void {
    const before = this.space.value;
    const next = { ...before, ...change };
    if (next.mustHold !== before.mustHold || next.hasRoom !== before.hasRoom) this.space.set(next);
  }
}

/** What this user may still write. */
async function freeBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize;
}

/** Bytes that no file system packs, so that each takes its room. */
async function writeReserve(path: string, bytes: number): Promise<void> {
  const file = await open(path, "w", 0o600);
  try {
    for (let left = bytes; left > 0; left -= chunkBytes) await file.writeFile(randomBytes(Math.min(left, chunkBytes)));
    await file.sync();
  } finally {
    await file.close();
  }
}
