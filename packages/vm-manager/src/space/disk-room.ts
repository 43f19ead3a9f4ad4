/**
 * How much the file system of the disks of VMs holds, and how much of that is free: what a node publishes of it. Each change that
 * is published is an entry of the log, so that small ones are left out.
 */
import { statfs } from "node:fs/promises";
import { type Clock, type Logger, messageOf, sleep, Watch } from "@blixard/common";
import type { NodeCapacity } from "@blixard/protocol";

export type DiskRoomFacts = NonNullable<NodeCapacity["disk"]>;

export interface DiskRoomDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  /** On the file system that is looked at. */
  readonly directory: string;
}

const bytesPerMiB = 1024 * 1024;
const lookMs = 10_000;
/** What is free is published anew when it differs by so much, or by this part of the whole where that is less. */
const newsMiB = 1_024;
const newsShare = 0.02;

export class DiskRoom {
  readonly facts: Watch<DiskRoomFacts>;
  readonly #deps: DiskRoomDeps;
  readonly #closing = new AbortController();
  readonly #loop: Promise<void>;

  private constructor(deps: DiskRoomDeps, facts: DiskRoomFacts) {
    this.#deps = deps;
    this.facts = new Watch(facts);
    this.#loop = this.#run();
  }

  static async open(deps: DiskRoomDeps): Promise<DiskRoom> {
    return new DiskRoom(deps, await diskRoomOf(deps.directory));
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { clock, logger, directory } = this.#deps;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await sleep(clock, lookMs, signal).catch(() => {});
      if (signal.aborted) return;
      try {
        const now = await diskRoomOf(directory);
        if (isNews(this.facts.value, now)) this.facts.set(now);
      } catch (error) {
        logger.log("warn", "the room on the file system of the VMs is not known", { error: messageOf(error) });
      }
    }
  }
}

/** Whether what is free has changed so much that others have to know. */
export function isNews(before: DiskRoomFacts, now: DiskRoomFacts): boolean {
  if (before.totalMiB !== now.totalMiB) return true;
  const differenceMiB = Math.abs(before.freeMiB - now.freeMiB);
  return differenceMiB >= Math.min(newsMiB, Math.max(1, Math.floor(now.totalMiB * newsShare)));
}

/** What this user may write there: what is kept for the superuser counts for nothing. */
async function diskRoomOf(directory: string): Promise<DiskRoomFacts> {
  const { blocks, bfree, bavail, bsize } = await statfs(directory);
  const mebibytes = (count: number) => Math.floor((count * bsize) / bytesPerMiB);
  return { totalMiB: mebibytes(blocks - bfree + bavail), freeMiB: mebibytes(bavail) };
}
