/** A VM goes to another node: what is asked is checked here, and becomes an operation. */
import { notApplied } from "@blixard/common";
import type { OperationRecord, VmRecord } from "@blixard/protocol";
import type { Handlers } from "../calls/call-types.ts";
import { assertSpeaksFor } from "../calls/identify.ts";
import { randomOperationId } from "../ids.ts";
import type { NodeParts } from "../node-parts.ts";
import { planView, type ViewParts } from "../operations/plan-view.ts";
import { carryRefusal } from "../operations/vm-transit.ts";
import { isRemembered } from "../state-machine/apply-command.ts";
import { keepsData } from "../state-machine/vm-move.ts";
import { assertNodeAnswers } from "./lost-node.ts";
import { nodeOf } from "./node.ts";
import { refuseIfMatch } from "./propose.ts";
import { vmOf } from "./vm.ts";

/** What these methods use of the node. */
type MigrateParts = ViewParts & Pick<NodeParts, "random" | "proposals" | "reservations">;

export function vmMigrateHandlers(parts: MigrateParts): Pick<Handlers, "vm.migrate" | "vm.observeCopy"> {
  return {
    "vm.migrate": async ({ name, to, deadlineMs }, call) => {
      refuseIfMatch(call, "a VM that is moved");
      const { clock, random, stateMachine, proposals } = parts;
      const { state } = stateMachine;
      const vm = vmOf(parts, name);
      // What stands now says nothing about a request that was applied before: `apply` answers that.
      const isAgain = isRemembered(state, call.meta);
      const target = isAgain ? (to ?? vm.node ?? 0) : targetOf(parts, vm, to);
      const operation = {
        ...{ id: randomOperationId(random), kind: "vm-migrate" as const, nodeId: vm.node ?? 0, vms: [name] },
        ...{ vmId: vm.vmId, to: target, deadlineUnixMs: clock.unixMs() + deadlineMs },
      };
      const body = { type: "operation.start", operation } as const;
      const { index, term, value } = await proposals.propose<{ operation: OperationRecord }>(body, call);
      return { index, term, operation: value.operation };
    },
    "vm.observeCopy": async (request, call) => {
      assertSpeaksFor(call, request.nodeId);
      const { index, term } = await parts.proposals.propose({ type: "vm.observeCopy", ...request }, call);
      return { index, term };
    },
  };
}

/** The node that takes the VM. @throws CONFLICT, NODE_LOST, NODE_NOT_FOUND, NO_CAPACITY */
function targetOf(parts: MigrateParts, vm: VmRecord, to: number | undefined): number {
  const { name, node } = vm;
  const refuse = (why: string, hint: string) => notApplied("CONFLICT", `the VM ${name} ${why}`, { hint });
  if (node === null) throw refuse("is on no node yet", `See: blixard vm explain ${name}`);
  if (to !== undefined) nodeOf(parts, to);
  if (to === node) throw refuse(`is on node ${node} already`, "Name another node.");
  // As every wish that only its node can fulfil.
  assertNodeAnswers(parts, vm, "paused");
  const { state } = parts.stateMachine;
  const refusal = keepsData(state, vm) ? carryRefusal(state, vm) : undefined;
  if (refusal !== undefined) throw refuse(`cannot be moved: ${refusal}`, `See: blixard vm get ${name}`);
  const reservations = [...parts.reservations];
  const place = planView(parts).place(vm, { reservations, ...(to === undefined ? {} : { only: to }) });
  if (place.ok) return place.nodeId;
  throw notApplied(place.code, place.message, { hint: place.hint });
}
