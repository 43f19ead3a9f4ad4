/**
 * Watches the oldest write that is not durable yet. A leader whose disk is stuck still answers heartbeats, so the
 * others would keep following a node that cannot commit by itself; it hands leadership over and, in the end, stops.
 */
import type { NodeId, Status } from "./core/types.ts";
import type { ResolvedOptions } from "./options.ts";

export type DiskVerdict = "ok" | "warn" | "step_down" | "fatal";

export type DiskWatchOptions = Pick<ResolvedOptions, "diskWarnMs" | "diskStepDownMs" | "diskFatalMs">;

export class DiskWatch {
  readonly #options: DiskWatchOptions;
  #warned = false;
  #askedAtMs: number | undefined;

  constructor(options: DiskWatchOptions) {
    this.#options = options;
  }

  /** What to do now; "warn" once for each stuck write, "step_down" again at each `diskWarnMs` while it stays stuck. */
  judge(oldestMs: number): DiskVerdict {
    const { diskWarnMs: warnMs, diskStepDownMs: stepDownMs, diskFatalMs: fatalMs } = this.#options;
    if (oldestMs < warnMs) {
      this.#warned = false;
      this.#askedAtMs = undefined;
      return "ok";
    }
    if (oldestMs >= fatalMs) return "fatal";
    if (oldestMs >= stepDownMs && (this.#askedAtMs === undefined || oldestMs - this.#askedAtMs >= warnMs)) {
      this.#askedAtMs = oldestMs;
      return "step_down";
    }
    if (this.#warned) return "ok";
    this.#warned = true;
    return "warn";
  }
}

/** The voter that is heard of and has most of the log. */
export function bestSuccessor({ id, progress }: Status): NodeId | undefined {
  const candidates = progress.filter((peer) => peer.id !== id && !peer.learner && peer.recentActive);
  return candidates.sort((a, b) => b.match - a.match)[0]?.id;
}
