/**
 * Takes the disks of VMs that are to come to this node, and says how far it is. Which ones follows from the state; what has
 * come is kept here, so that a transfer goes on after a broken link, another leader, and a restart of either node.
 */
import { errorCodeOf, firstOf, linkSignal, messageOf, pauseFor, Watch } from "@blixard/common";
import { type DiskCopyObservation, limits } from "@blixard/protocol";
import type { CopyProgress } from "@blixard/vm-manager";
import type { CallRouter } from "../calls/call-router.ts";
import { nodeMeta } from "../calls/peer-calls.ts";
import { randomRequestId } from "../ids.ts";
import type { NodeParts } from "../node-parts.ts";
import { type LoopDeps, runLoop } from "./background-loop.ts";
import { droppedCopies, keptCopies, type WantedCopy, wantedCopies } from "./disk-copy-plan.ts";

/** What this duty uses of the node. */
type CopyDutyParts = Pick<NodeParts, "clock" | "random" | "logger" | "options" | "vmManager" | "stateMachine">;

const observeTimeoutMs = 10_000;
/** How often it says how far it is: each time is an entry of the log. */
const reportMs = 1_000;
const retryMs = 1_000;
const retryMsMax = 15_000;
/** Codes with which it is of no use to try again. */
const finalCodes: readonly (string | undefined)[] = ["NO_CAPACITY", "CONFLICT"];

interface RunningCopy {
  readonly stop: () => void;
  readonly ended: Promise<void>;
}

export class DiskCopyDuty {
  readonly #parts: CopyDutyParts;
  readonly #router: Pick<CallRouter, "call">;
  readonly #loop: LoopDeps;
  readonly #caughtUp: (signal: AbortSignal) => Promise<void>;
  readonly #running = new Map<string, RunningCopy>();

  constructor(
    parts: CopyDutyParts,
    router: Pick<CallRouter, "call">,
    loop: LoopDeps,
    caughtUp: (signal: AbortSignal) => Promise<void>,
  ) {
    this.#parts = parts;
    this.#router = router;
    this.#loop = loop;
    this.#caughtUp = caughtUp;
  }

  /** Runs until `signal` aborts. Never rejects. Nothing that was put aside goes before the state has caught up. */
  async run(signal: AbortSignal): Promise<void> {
    await this.#caughtUp(signal).catch(() => {});
    if (signal.aborted) return;
    await Promise.all([this.#runWanted(signal), this.#runDropped(signal)]);
    await Promise.all([...this.#running.values()].map(({ ended }) => ended));
  }

  #runWanted(signal: AbortSignal): Promise<void> {
    const { stateMachine, vmManager, options } = this.#parts;
    let seen = -1;
    return runLoop(this.#loop, "disk-copies", signal, async () => {
      const { changed } = await stateMachine.version.until((next) => changeIndex(next.changed) !== seen, { signal });
      const wanted = wantedCopies(stateMachine.state, options.nodeId);
      const keys = new Set(wanted.map(keyOf));
      for (const [key, copy] of this.#running) {
        if (keys.has(key)) continue;
        copy.stop();
        await copy.ended;
      }
      await vmManager.diskCopies.keepOnly(keptCopies(stateMachine.state, options.nodeId));
      for (const copy of wanted) this.#start(copy, signal);
      seen = changeIndex(changed);
    });
  }

  #start(wanted: WantedCopy, signal: AbortSignal): void {
    const key = keyOf(wanted);
    if (this.#running.has(key)) return;
    const link = linkSignal(signal);
    const ended = this.#copy(wanted, link.signal).finally(() => {
      link.release();
      this.#running.delete(key);
    });
    this.#running.set(key, { stop: () => link.abort(), ended });
  }

  /** Until all of it has come and the state knows that, or it is not wanted any more. Never rejects. */
  async #copy(wanted: WantedCopy, signal: AbortSignal): Promise<void> {
    const { clock, logger, vmManager } = this.#parts;
    const report = new CopyReport(this.#parts, (observation) => this.#observe([observation], signal), wanted);
    const reporting = report.run(signal);
    let delayMs = retryMs;
    while (!signal.aborted && !report.isOver) {
      try {
        const names = await vmManager.diskCopies.receive(wanted, {
          signal,
          onProgress: (progress) => {
            delayMs = retryMs;
            report.progress(progress);
          },
        });
        logger.log("info", "disks have come from another node", { vmId: wanted.vmId, source: wanted.source, names });
        report.end({ state: "copied", message: "", names });
      } catch (error) {
        if (signal.aborted) break;
        const code = errorCodeOf(error);
        const message = messageOf(error).slice(0, limits.placementLengthMax);
        logger.log("warn", "disks do not come from another node", {
          vmId: wanted.vmId,
          source: wanted.source,
          message,
        });
        if (finalCodes.includes(code))
          report.end({ state: "failed", message, ...(code === undefined ? {} : { code }) });
        else {
          report.trouble(message);
          await pauseFor(clock, delayMs, signal);
          delayMs = Math.min(2 * delayMs, retryMsMax);
        }
      }
    }
    await reporting;
  }

  #runDropped(signal: AbortSignal): Promise<void> {
    const { stateMachine, vmManager, options } = this.#parts;
    return runLoop(this.#loop, "disk-copies", signal, async () => {
      const seen = vmManager.observations.version.value;
      const { changed } = stateMachine.version.value;
      const news = droppedCopies(stateMachine.state, options.nodeId, vmManager.observations).slice(
        0,
        limits.copiesObservedMax,
      );
      if (news.length > 0) return await this.#observe(news, signal);
      await firstOf(signal, (until) => [
        vmManager.observations.version.until((value) => value !== seen, { signal: until }),
        stateMachine.version.until((next) => next.changed.vms !== changed.vms, { signal: until }),
      ]);
    });
  }

  async #observe(copies: DiskCopyObservation[], signal: AbortSignal): Promise<void> {
    const { random, options, stateMachine } = this.#parts;
    // One id for all attempts: the router's retry must not wait for a second place in the log.
    const meta = nodeMeta(options.nodeId, `observe-${randomRequestId(random)}`, observeTimeoutMs);
    const request = { nodeId: options.nodeId, copies };
    const { index } = await this.#router.call("vm.observeCopy", request, meta, { signal });
    await stateMachine.version.until((next) => next.appliedIndex >= index, { signal });
  }
}

function changeIndex({ vms, volumes }: Readonly<Record<"vms" | "volumes", number>>): number {
  return Math.max(vms, volumes);
}

function keyOf({ vmId, epoch, source }: WantedCopy): string {
  return `${vmId} ${epoch} ${source}`;
}

type Said = Pick<DiskCopyObservation, "state" | "message" | "code" | "names">;

/** Tells the leader how far one copy is, not too often, and in the end for sure. */
class CopyReport {
  readonly #clock: CopyDutyParts["clock"];
  readonly #send: (observation: DiskCopyObservation) => Promise<void>;
  readonly #wanted: WantedCopy;
  #said: Said = { state: "copying", message: "" };
  #progress: CopyProgress = { doneBytes: 0, wholeBytes: 0, receivedBytes: 0 };
  #changed = true;
  readonly #over = new Watch(false);

  constructor(
    { clock }: Pick<CopyDutyParts, "clock">,
    send: (observation: DiskCopyObservation) => Promise<void>,
    wanted: WantedCopy,
  ) {
    this.#clock = clock;
    this.#send = send;
    this.#wanted = wanted;
  }

  get isOver(): boolean {
    return this.#over.value;
  }

  progress(progress: CopyProgress): void {
    this.#progress = progress;
    this.#said = { state: "copying", message: "" };
    this.#changed = true;
  }

  trouble(message: string): void {
    this.#said = { state: "copying", message };
    this.#changed = true;
  }

  end(said: Said): void {
    this.#said = said;
    this.#changed = true;
    this.#over.set(true);
  }

  async run(signal: AbortSignal): Promise<void> {
    let before = { bytes: 0, ms: this.#clock.monotonicMs() };
    for (let told = false; !signal.aborted && !told; ) {
      const limit = { clock: this.#clock, delayMs: reportMs };
      await this.#over.until((over) => over, { signal, limit }).catch(() => {});
      if (!this.#changed || signal.aborted) continue;
      const { doneBytes, wholeBytes, receivedBytes } = this.#progress;
      const nowMs = this.#clock.monotonicMs();
      const bytes = Math.max(0, receivedBytes - before.bytes);
      const bytesPerSecond = Math.round((1_000 * bytes) / Math.max(1, nowMs - before.ms));
      before = { bytes: receivedBytes, ms: nowMs };
      const { vmId, epoch } = this.#wanted;
      const said = this.#said;
      this.#changed = false;
      try {
        await this.#send({ vmId, epoch, doneBytes, wholeBytes, bytesPerSecond, ...said });
        told = said.state !== "copying";
      } catch {
        this.#changed = true;
        await pauseFor(this.#clock, retryMs, signal);
      }
    }
  }
}
