/** Draining, resuming and evacuating nodes: what is asked is checked and foreseen here, and becomes an operation. */
import { notApplied } from "@blixard/common";
import {
  type DrainWish,
  limits,
  type OperationKind,
  type OperationRecord,
  type ParsedRequestOf,
  type PlannedVm,
  type ResponseOf,
} from "@blixard/protocol";
import type { CallScope, Handlers } from "../calls/call-types.ts";
import { randomOperationId } from "../ids.ts";
import type { NodeParts } from "../node-parts.ts";
import { dataText, foreseeDrain, modeOf } from "../operations/drain-plan.ts";
import { foreseeEvacuation } from "../operations/evacuate-plan.ts";
import { balanceView, planView, type ViewParts } from "../operations/plan-view.ts";
import { rebalanceMoves } from "../operations/rebalance-moves.ts";
import { foreseeResume } from "../operations/resume-plan.ts";
import { isReachable } from "../peers/reachability.ts";
import { isRemembered } from "../state-machine/apply-command.ts";
import { vmsOn } from "../state-machine/node.ts";
import { keepsData, wantsToRun } from "../state-machine/vm-move.ts";
import { nodeOf } from "./node.ts";
import { refuseIfMatch } from "./propose.ts";

/** What these methods use of the node. */
type WorkParts = ViewParts & Pick<NodeParts, "random" | "proposals">;

type WorkMethods = "node.drain" | "node.resume" | "node.evacuate" | "scheduling.rebalance";
type Answer = ResponseOf<WorkMethods>;

export function nodeWorkHandlers(parts: WorkParts): Pick<Handlers, WorkMethods> {
  const checked = (id: number, call: CallScope): boolean => {
    refuseIfMatch(call, "a node");
    const isAgain = isRemembered(parts.stateMachine.state, call.meta);
    // What stands now says nothing about a request that was applied before.
    if (!isAgain) nodeOf(parts, id);
    return !isAgain;
  };
  return {
    "node.drain": async (request, call) => {
      const { id, mode, vmModes, parallel } = request;
      if (checked(id, call)) assertModesFit(parts, request);
      const drain: DrainWish = { vmModes, parallel, ...(mode === undefined ? {} : { mode }) };
      const plan = foreseeDrain(planView(parts), id, drain);
      return await begin(parts, request, call, { kind: "node-drain", plan, drain });
    },
    "node.resume": async (request, call) => {
      const { id, parallel } = request;
      checked(id, call);
      const plan = foreseeResume(planView(parts), id);
      return await begin(parts, request, call, { kind: "node-resume", plan, drain: { vmModes: [], parallel } });
    },
    "node.evacuate": async (request, call) => {
      const { id } = request;
      if (checked(id, call)) assertLost(parts, id);
      const plan = foreseeEvacuation(planView(parts), id);
      return await begin(parts, request, call, { kind: "node-evacuate", plan });
    },
    "scheduling.rebalance": async (request, call) => {
      refuseIfMatch(call, "the scheduler");
      const isAgain = isRemembered(parts.stateMachine.state, call.meta);
      const { moves, more } = isAgain ? { moves: [], more: false } : rebalanceMoves(balanceView(parts));
      const plan = moves.map(({ vm, to, why }): PlannedVm => ({ vm, action: "move", why, to }));
      const drain: DrainWish = { vmModes: [], parallel: request.parallel };
      const begun = await begin(parts, request, call, {
        ...{ kind: "rebalance", plan, drain },
        moves: moves.map(({ vm, from, to }) => ({ vm, from, to })),
      });
      return more ? { ...begun, more: true as const } : begun;
    },
  };
}

interface Begin {
  readonly kind: Exclude<OperationKind, "vm-stop" | "vm-delete">;
  readonly plan: PlannedVm[];
  readonly moves?: NonNullable<OperationRecord["moves"]>;
  readonly drain?: DrainWish;
}

async function begin(
  { clock, random, raft, stateMachine, proposals }: WorkParts,
  { id: nodeId, dryRun, deadlineMs }: { readonly id?: number; readonly dryRun: boolean; readonly deadlineMs?: number },
  call: CallScope,
  { kind, plan, drain, moves }: Begin,
): Promise<Answer> {
  if (dryRun) return { index: stateMachine.version.value.appliedIndex, term: raft.coreStatus().term, plan };
  const operation = {
    id: randomOperationId(random),
    kind,
    ...(nodeId === undefined ? {} : { nodeId }),
    ...(moves === undefined ? {} : { moves }),
    vms: plan
      .filter(({ action }) => action !== "stay")
      .map(({ vm }) => vm)
      .slice(0, limits.operationVmsMax),
    ...(drain === undefined ? {} : { drain }),
    ...(deadlineMs === undefined ? {} : { deadlineUnixMs: clock.unixMs() + deadlineMs }),
  };
  const { index, term, value } = await proposals.propose<{ operation: OperationRecord }>(
    { type: "operation.start", operation },
    call,
  );
  return { index, term, plan, operation: value.operation };
}

/** @throws VM_NOT_FOUND for a VM that is not on the node, CONFLICT for one that would lose its data */
function assertModesFit(parts: WorkParts, { id, mode, vmModes }: ParsedRequestOf<"node.drain">): void {
  const { state } = parts.stateMachine;
  const vms = vmsOn(state, id);
  for (const { vm } of vmModes) {
    if (vms.some(({ name }) => name === vm)) continue;
    throw notApplied("VM_NOT_FOUND", `there is no VM ${vm} on node ${id}`, {
      hint: "List the VMs with: blixard vm list",
    });
  }
  const wish = { vmModes, ...(mode === undefined ? {} : { mode }) };
  const bound = vms.filter((vm) => wantsToRun(vm) && modeOf(vm, wish) === "restart" && keepsData(state, vm));
  const [first] = bound;
  if (first === undefined) return;
  throw notApplied("CONFLICT", `the VM ${first.name} cannot be restarted elsewhere: ${dataText(first)}`, {
    hint: `Let it stop: blixard nodes drain ${id} ${bound.map(({ name }) => `--vm-mode ${name}=stop`).join(" ")}`,
  });
}

/** @throws CONFLICT */
function assertLost(parts: WorkParts, id: number): void {
  if (!isReachable(parts, id)) return;
  throw notApplied("CONFLICT", `node ${id} answers: its VMs run, and only a lost node is evacuated`, {
    hint: `Let them leave it: blixard nodes drain ${id}`,
  });
}
