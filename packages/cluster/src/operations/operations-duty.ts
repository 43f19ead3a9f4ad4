/**
 * The leader drives the operations that run. What is next follows from the state alone, so that a new leader goes on where the
 * last one stopped; each step is one entry of the log, and the next round looks at what came of it.
 */
import { errorCodeOf, isBlixardError, messageOf, untilNextMs, withTimeLimit } from "@blixard/common";
import { type CommandBody, limits, type OperationRecord } from "@blixard/protocol";
import { nodeMeta } from "../calls/peer-calls.ts";
import type { StateVersion } from "../cluster-state-machine.ts";
import { dutyIndex } from "../duties/wait-for-duty.ts";
import type { NodeParts } from "../node-parts.ts";
import { sortedRecords } from "../state-machine/state.ts";
import { planDrain } from "./drain-plan.ts";
import { planEvacuation } from "./evacuate-plan.ts";
import { planForced } from "./forced-plan.ts";
import { planMigration } from "./migrate-plan.ts";
import { cancelled, type NodeOperation, type OperationPlan, type PlanView } from "./plan-types.ts";
import { planView, type ViewParts } from "./plan-view.ts";
import { planRebalance } from "./rebalance-plan.ts";
import { planResume } from "./resume-plan.ts";
import { planVolumeMove } from "./volume-move-plan.ts";

type DutyParts = ViewParts & Pick<NodeParts, "logger" | "metrics" | "proposals">;

const stepTimeoutMs = 5_000;

export class OperationsDuty {
  readonly #parts: DutyParts;

  constructor(parts: DutyParts) {
    this.#parts = parts;
  }

  /** Runs until `signal` aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { raft, logger, stateMachine, metrics } = this.#parts;
    while (!signal.aborted) {
      await raft.status.until((status) => status.ready, { signal }).catch(() => {});
      if (signal.aborted) return;
      const seen = operationsIndex(stateMachine.version.value);
      let progressed = false;
      try {
        progressed = await this.#round(signal);
      } catch (error) {
        if (signal.aborted) return;
        metrics.dutyFailures.add(1, { duty: "operations" });
        const fields = { code: errorCodeOf(error), error: messageOf(error) };
        logger.log("warn", "an operation could not go on; it is tried again", fields);
      }
      if (!progressed) await this.#waitFor(seen, signal);
    }
  }

  /** True when something was decided, so that the next step may be possible at once. */
  async #round(signal: AbortSignal): Promise<boolean> {
    const { stateMachine, raft } = this.#parts;
    let progressed = false;
    for (const { id } of sortedRecords(stateMachine.state, "operations")) {
      const operation = stateMachine.state.operations.get(id);
      if (operation?.state !== "running") continue;
      if (raft.coreStatus().role !== "StateLeader") return false;
      progressed = (await this.#drive(operation, signal)) || progressed;
    }
    return progressed;
  }

  async #drive(operation: OperationRecord, signal: AbortSignal): Promise<boolean> {
    const { id } = operation;
    const plan = planOf(planView(this.#parts), operation);
    const waiting = plan.waiting.slice(0, limits.operationWaitingMax);
    if (plan.end !== undefined) {
      const { state, error } = plan.end;
      const ended = { state, message: plan.message, waiting, ...(error === undefined ? {} : { error }) };
      await this.#decide({ type: "operation.end", id, ...ended }, signal);
      this.#parts.logger.log("info", "an operation has ended", {
        id,
        kind: operation.kind,
        state,
        message: plan.message,
      });
      return true;
    }
    let progressed = false;
    for (const step of plan.steps) progressed = (await this.#step(step, operation, signal)) || progressed;
    if (says(operation, plan)) return progressed;
    const { percent, message } = plan;
    await this.#decide({ type: "operation.progress", id, percent, message, waiting }, signal);
    return progressed;
  }

  async #step(step: CommandBody, { id, kind }: OperationRecord, signal: AbortSignal): Promise<boolean> {
    try {
      await this.#decide(step, signal);
      return true;
    } catch (error) {
      // What was seen is not so any more: the next round sees what is.
      if (!isBlixardError(error) || error.outcome !== "not_applied") throw error;
      this.#parts.logger.log("info", "a step of an operation was refused", { id, kind, error: error.message });
      return false;
    }
  }

  async #decide(body: CommandBody, signal: AbortSignal): Promise<void> {
    const { options, clock, proposals } = this.#parts;
    const meta = { ...nodeMeta(options.nodeId, "", stepTimeoutMs), actor: { kind: "system", id: "leader" } } as const;
    await withTimeLimit(clock, stepTimeoutMs, signal, (limited) => proposals.propose(body, { meta, signal: limited }));
  }

  async #waitFor(seen: number, signal: AbortSignal): Promise<void> {
    const { clock, options, stateMachine } = this.#parts;
    const moved = (next: StateVersion) => operationsIndex(next) !== seen;
    // Where none runs, only a change brings one.
    const runs = [...stateMachine.state.operations.values()].some(({ state }) => state === "running");
    const limit = runs ? { limit: { clock, delayMs: untilNextMs(clock, options.leaderIntervalMs) } } : {};
    await stateMachine.version.until(moved, { signal, ...limit }).catch(() => {});
  }
}

function operationsIndex(version: StateVersion): number {
  return Math.max(dutyIndex(version), version.changed.operations);
}

function planOf(view: PlanView, operation: OperationRecord): OperationPlan {
  if (operation.kind === "rebalance") return planRebalance(view, operation);
  const { nodeId } = operation;
  if (nodeId === undefined) return cancelled("it names no node");
  return planOnNode(view, { ...operation, nodeId }, operation.kind);
}

function planOnNode(
  view: PlanView,
  operation: NodeOperation,
  kind: Exclude<OperationRecord["kind"], "rebalance">,
): OperationPlan {
  switch (kind) {
    case "node-drain":
      return planDrain(view, operation);
    case "node-resume":
      return planResume(view, operation);
    case "node-evacuate":
      return planEvacuation(view, operation);
    case "vm-migrate":
      return planMigration(view, operation);
    case "volume-move":
      return planVolumeMove(view, operation);
    case "vm-stop":
    case "vm-delete":
      return planForced(view, operation);
    default:
      return kind satisfies never;
  }
}

/** Whether the record says all of it already. */
function says(operation: OperationRecord, { percent, message, waiting }: OperationPlan): boolean {
  const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
  const shown = waiting.slice(0, limits.operationWaitingMax).map(({ vm, why }) => ({ vm, why }));
  return (
    operation.percent === percent &&
    operation.message === message &&
    same(
      operation.waiting.map(({ vm, why }) => ({ vm, why })),
      shown,
    )
  );
}
