/**
 * Connects the replicated state with the VM manager of this node: what the state wants of the VMs that this node owns
 * goes down, what the manager observed goes up to the leader.
 *
 * Nothing goes down before the state was caught up with a leader since the start of the process. The state on disk may
 * be old: a VM that it wants here may have been given away or deleted meanwhile. Until then the manager only adopts.
 */
import { assertBelow, firstOf } from "@blixard/common";
import { limits } from "@blixard/protocol";
import type { CallRouter } from "../calls/call-router.ts";
import type { NodeParts } from "../node-parts.ts";
import { type LoopDeps, runLoop } from "./background-loop.ts";
import type { DesiredVms } from "./desired-vms.ts";
import { observationBytesMax } from "./observation-news.ts";
import { report } from "./report.ts";
import { UnreportedVms } from "./unreported-vms.ts";

/** What this duty uses of the node. */
type VmDutyParts = Pick<NodeParts, "random" | "options" | "vmManager" | "stateMachine">;

/** Observations in one command, so that it stays far below the largest command. */
const batchMax = 48;

export class VmDuty {
  readonly #parts: VmDutyParts;
  readonly #desired: DesiredVms;
  readonly #router: Pick<CallRouter, "call">;
  readonly #loop: LoopDeps;
  readonly #caughtUp: (signal: AbortSignal) => Promise<void>;

  constructor(
    parts: VmDutyParts,
    desired: DesiredVms,
    router: Pick<CallRouter, "call">,
    loop: LoopDeps,
    caughtUp: (signal: AbortSignal) => Promise<void>,
  ) {
    this.#parts = parts;
    this.#desired = desired;
    this.#router = router;
    this.#loop = loop;
    this.#caughtUp = caughtUp;
  }

  /** Runs until `signal` aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    await this.#caughtUp(signal).catch(() => {});
    if (signal.aborted) return;
    await Promise.all([this.#runDesired(signal), this.#runObserved(signal)]);
  }

  #runDesired(signal: AbortSignal): Promise<void> {
    const { stateMachine, vmManager } = this.#parts;
    let seen = -1;
    return runLoop(this.#loop, "vm-desired", signal, async () => {
      const { changed } = await stateMachine.version.until((next) => changeIndex(next.changed) !== seen, { signal });
      seen = changeIndex(changed);
      vmManager.setDesired(this.#desired.list);
    });
  }

  #runObserved(signal: AbortSignal): Promise<void> {
    const { stateMachine, vmManager, options } = this.#parts;
    const unreported = new UnreportedVms(this.#parts);
    return runLoop(this.#loop, "vm-observe", signal, async () => {
      const seen = vmManager.observations.version.value;
      const version = stateMachine.version.value;
      const news = unreported.find().slice(0, batchMax);
      if (news.length === 0) {
        await this.#nextChange(seen, changeIndex(version.changed), signal);
        return;
      }
      const request = { nodeId: options.nodeId, observations: news };
      await report(this.#parts, this.#router, "vm.observe", request, signal);
    });
  }

  async #nextChange(seen: number, seenIndex: number, signal: AbortSignal): Promise<void> {
    const { stateMachine, vmManager } = this.#parts;
    await firstOf(signal, (until) => [
      vmManager.observations.version.until((value) => value !== seen, { signal: until }),
      stateMachine.version.until((next) => changeIndex(next.changed) !== seenIndex, { signal: until }),
    ]);
  }
}

type Changed = Readonly<Record<"vms" | "images" | "secrets", number>>;

function changeIndex(changed: Changed): number {
  return Math.max(changed.vms, changed.images, changed.secrets);
}

assertBelow(
  { "batchMax * observationBytesMax": batchMax * observationBytesMax },
  { commandBytesMax: limits.commandBytesMax },
  "one command holds a batch of observations",
);
