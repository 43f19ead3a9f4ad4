/** How many copies of a VM run, as anybody can count who looks at this machine: a process that stands still does not run. */
import { readFileSync } from "node:fs";
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { instanceProcesses } from "@blixard/testing";

const sampleMs = 10;
/** All processes of this machine are looked at less often: that costs more. */
const searchMs = 100;

export class Copies {
  readonly #vmId: string;
  readonly #running: Promise<void>;
  #stopped = false;
  #sinceMs = performance.now();
  #last: readonly number[] = [];
  #most = 0;
  #twiceMs = 0;
  /** When each process was seen to run last, in milliseconds since `begin`. */
  readonly #seenAtMs = new Map<number, number>();

  constructor(vmId: string) {
    this.#vmId = vmId;
    this.#running = this.#watch();
  }

  /** Forgets what was seen before: a fault begins now. */
  begin(): void {
    this.#sinceMs = performance.now();
    this.#most = 0;
    this.#twiceMs = 0;
    this.#seenAtMs.clear();
  }

  /** The most that ran at one moment. */
  get most(): number {
    return this.#most;
  }

  /** For how long more than one ran. */
  get twiceMs(): number {
    return this.#twiceMs;
  }

  /** Until when a process ran; undefined while it does. */
  endedMs(pid: number): number | undefined {
    return this.#last.includes(pid) ? undefined : this.#seenAtMs.get(pid);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #watch(): Promise<void> {
    let pids: readonly number[] = [];
    let searchedMs = Number.NEGATIVE_INFINITY;
    let beforeMs = performance.now();
    while (!this.#stopped) {
      const nowMs = performance.now();
      if (nowMs - searchedMs >= searchMs) {
        pids = instanceProcesses(this.#vmId);
        searchedMs = nowMs;
      }
      this.#last = pids.filter(runs);
      for (const pid of this.#last) this.#seenAtMs.set(pid, nowMs - this.#sinceMs);
      this.#most = Math.max(this.#most, this.#last.length);
      if (this.#last.length > 1) this.#twiceMs += nowMs - beforeMs;
      beforeMs = nowMs;
      await sleep(sampleMs);
    }
  }
}

/** Neither stopped nor gone, by field 3 of `/proc/PID/stat`. */
export function runs(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return !["T", "t", "Z", "X"].includes(stat.slice(stat.lastIndexOf(")") + 2)[0] ?? "");
  } catch {
    return false;
  }
}
