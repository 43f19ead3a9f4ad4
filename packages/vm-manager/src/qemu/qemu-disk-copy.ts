/**
 * A copy of a disk of a QEMU that runs, into a file: all that is on it goes there, and what the guest writes meanwhile goes to both
 * (`blockdev-mirror`, `write-blocking`), so that it comes to an end however much is written. The moment that it shows is its end.
 * What is zeros takes no room.
 */
import { abortReason, BlixardError, type Clock, pauseFor, sleep } from "@blixard/common";
import type { DiskCopyOptions } from "../driver.ts";
import type { ExecuteQmp } from "../process/qmp-instance.ts";
import { diskNodeName } from "./qemu-arguments.ts";
import { objectsIn } from "./qmp-answers.ts";

const pollMs = 100;
const finishPollMs = 10;

/** @throws STORAGE_FAILED with what QEMU says, when it cannot be read or written */
export async function copyDisk(
  { clock, execute }: { readonly clock: Clock; readonly execute: ExecuteQmp },
  { name, file }: { readonly name: string; readonly file: string },
  { signal, atEnd }: DiskCopyOptions,
): Promise<void> {
  const node = diskNodeName(name);
  const job = `copy-${name}`;
  const jobs = new CopyJob(clock, execute, job);
  // What an earlier manager has left.
  await jobs.remove();
  const place = { driver: "file", filename: file, locking: "on", discard: "unmap" };
  await execute("blockdev-add", { driver: "raw", "node-name": job, discard: "unmap", file: place });
  try {
    const how = { sync: "full", "copy-mode": "write-blocking", "auto-dismiss": false };
    await execute("blockdev-mirror", { "job-id": job, device: node, target: job, ...how });
    await jobs.until("ready", pollMs, signal);
    await atEnd(async () => {
      // Of one that has all of it, that is its end, and no failure.
      await execute("block-job-cancel", { device: job });
      await jobs.until("concluded", finishPollMs, signal);
    });
  } finally {
    await jobs.remove();
  }
}

class CopyJob {
  readonly #clock: Clock;
  readonly #execute: ExecuteQmp;
  readonly #id: string;

  constructor(clock: Clock, execute: ExecuteQmp, id: string) {
    this.#clock = clock;
    this.#execute = execute;
    this.#id = id;
  }

  async until(status: "ready" | "concluded", intervalMs: number, signal: AbortSignal): Promise<void> {
    for (;;) {
      if (signal.aborted) throw abortReason(signal);
      const job = await this.#find();
      if (job === undefined) throw new BlixardError("STORAGE_FAILED", "the copy of the disk has gone");
      if (typeof job["error"] === "string") throw new BlixardError("STORAGE_FAILED", job["error"]);
      if (job["status"] === status) return;
      if (job["status"] === "concluded") throw new BlixardError("STORAGE_FAILED", "the copy of the disk broke off");
      await pauseFor(this.#clock, intervalMs, signal);
    }
  }

  /** Nothing is left of it. */
  async remove(): Promise<void> {
    for (let job = await this.#find(); job !== undefined; job = await this.#find()) {
      const isOver = job["status"] === "concluded";
      if (isOver) await this.#execute("job-dismiss", { id: this.#id });
      else await this.#execute("block-job-cancel", { device: this.#id, force: true }).catch(() => {});
      if (!isOver) await sleep(this.#clock, pollMs);
    }
    await this.#execute("blockdev-del", { "node-name": this.#id }).catch(() => {});
  }

  async #find() {
    return objectsIn(await this.#execute("query-jobs")).find(({ id }) => id === this.#id);
  }
}
