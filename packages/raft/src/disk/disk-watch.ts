/**
 * Decides what a node does when its disk does not answer. A leader with a stuck disk still sends heartbeats, so without
 * this the others would keep following a leader that cannot write its log or apply what is committed.
 *
 *     writes (log, state): warn -> hand leadership over, again and again -> stop the node
 *     snapshots:           warn -> stop the node; the group goes on without one, so leadership stays where it is
 */
import { BlixardError, type Logger } from "@blixard/common";
import type { NodeId, Status } from "../core/types.ts";
import type { RaftNodeEvent } from "../node-events.ts";
import type { ResolvedOptions } from "../options.ts";

export type DiskAction = "ok" | "warn" | "step_down" | "fatal";

export type DiskWatchOptions = Pick<ResolvedOptions, "diskWarnMs" | "diskStepDownMs" | "diskFatalMs">;

/**
 * The disk work that is under way, each piece with the time of its last progress. A disk answers for the time only in
 * which this process could have taken its answer.
 */
export class DiskWork {
  readonly #nowMs: () => number;
  readonly #underWay = new Set<{ sinceMs: number }>();

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** Runs `work`, which calls `progress` whenever it gets further. */
  async run<T>(work: (progress: () => void) => Promise<T>): Promise<T> {
    const piece = { sinceMs: this.#nowMs() };
    this.#underWay.add(piece);
    try {
      return await work(() => {
        piece.sinceMs = this.#nowMs();
      });
    } finally {
      this.#underWay.delete(piece);
    }
  }

  /** Milliseconds since the last progress of the piece that has waited longest; 0 when nothing is under way. */
  oldestMs(): number {
    const nowMs = this.#nowMs();
    let oldestMs = 0;
    for (const { sinceMs } of this.#underWay) oldestMs = Math.max(oldestMs, nowMs - sinceMs);
    return oldestMs;
  }
}

/** Reports progress before and after each chunk that is read. */
export async function* withProgress(
  chunks: AsyncIterable<Uint8Array>,
  progress: () => void,
): AsyncIterable<Uint8Array> {
  for await (const chunk of chunks) {
    progress();
    yield chunk;
    progress();
  }
}

/**
 * How many times longer a snapshot may go without progress than a write: at its end a store removes the old state,
 * which takes long for a large one and reports no progress.
 */
const snapshotPatience = 15;

export interface DiskGuardHooks {
  readonly logger: Logger;
  readonly onEvent: (event: RaftNodeEvent) => void;
  readonly leads: () => boolean;
  /** Hands leadership over, where somebody can take it. */
  readonly stepDown: () => void;
}

export class DiskGuard {
  readonly #hooks: DiskGuardHooks;
  readonly #watches: Readonly<Record<"write" | "snapshot", DiskWatch>>;

  constructor(options: DiskWatchOptions, hooks: DiskGuardHooks) {
    this.#hooks = hooks;
    const diskFatalMs = options.diskFatalMs * snapshotPatience;
    const patient = { ...options, diskStepDownMs: Number.POSITIVE_INFINITY, diskFatalMs };
    this.#watches = { write: new DiskWatch(options), snapshot: new DiskWatch(patient) };
  }

  /** Checks the age of the work under way; called once a tick. @throws STORAGE_FAILED when it has taken too long */
  check(what: "write" | "snapshot", oldestMs: number): void {
    const action = this.#watches[what].actionFor(oldestMs);
    if (action === "ok" || (action === "step_down" && !this.#hooks.leads())) return;
    if (action === "fatal") {
      throw new BlixardError("STORAGE_FAILED", `a disk ${what} has not come on for ${Math.round(oldestMs)} ms`, {
        hint: "Check the disk; the node can be started again when it works.",
      });
    }
    this.#hooks.logger.log("warn", `a disk ${what} takes long`, { oldestMs, action });
    this.#hooks.onEvent({ type: "diskSlow", what, oldestMs, action });
    if (action === "step_down") this.#hooks.stepDown();
  }
}

class DiskWatch {
  readonly #options: DiskWatchOptions;
  #warned = false;
  #askedAtMs: number | undefined;

  constructor(options: DiskWatchOptions) {
    this.#options = options;
  }

  /** What to do now; "warn" once for each stuck write, "step_down" again at each `diskWarnMs` while it stays stuck. */
  actionFor(oldestMs: number): DiskAction {
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

/**
 * The active voter whose log is the longest, and reaches to `matchMin` at least. The core's own `recentActive` cannot tell
 * who is active: each quorum check clears it.
 */
export function bestSuccessor(
  { id, progress }: Status,
  isActive: (id: NodeId) => boolean,
  matchMin = 0,
): NodeId | undefined {
  const candidates = progress.filter(
    (peer) => peer.id !== id && !peer.learner && peer.match >= matchMin && isActive(peer.id),
  );
  return candidates.sort((a, b) => b.match - a.match)[0]?.id;
}

/**
 * Whom a leader with a slow disk may hand its leadership to: somebody who has shown a better one. While a write of its
 * log hangs, that is a voter on whose disk more of the log is than on its own. Where all are equally slow, as on one
 * machine that is short of everything, an election would only cost more of it.
 */
export function healthierSuccessor(
  status: Status,
  isActive: (id: NodeId) => boolean,
  logHangs: boolean,
): NodeId | undefined {
  const ownMatch = status.progress.find((peer) => peer.id === status.id)?.match ?? 0;
  return bestSuccessor(status, isActive, logHangs ? ownMatch + 1 : ownMatch);
}
