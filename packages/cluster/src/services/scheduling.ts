/** The settings of the scheduler, and what it would do. */
import { notApplied } from "@blixard/common";
import { hasOwnData, lossPolicyOf, type ParsedRequestOf, type PlacementReport } from "@blixard/protocol";
import type { Handlers } from "../calls/call-types.ts";
import type { NodeParts } from "../node-parts.ts";
import type { PlacementDecision } from "../scheduler/scheduler-types.ts";
import { policyOf } from "../state-machine/vm-move.ts";
import { type PlacedSubject, placeVm, schedulerOptions } from "./place-vm.ts";
import { refuseIfMatch } from "./propose.ts";
import { imageFor, vmOf } from "./vm.ts";

/** What these methods use of the node. */
type SchedulingParts = Pick<NodeParts, "options" | "raft" | "transport" | "stateMachine" | "proposals" | "leases">;

type SchedulingMethods = "scheduling.get" | "scheduling.set" | "vm.candidates";

export function schedulingHandlers(parts: SchedulingParts): Pick<Handlers, SchedulingMethods> {
  const settings = () => {
    const { strategy, vcpuOvercommit, diskOvercommit } = schedulerOptions(parts);
    return { strategy, vcpuOvercommit, diskOvercommit };
  };
  return {
    "scheduling.get": async () => settings(),
    "scheduling.set": async (given, call) => {
      refuseIfMatch(call, "the scheduler");
      const { index, term } = await parts.proposals.propose({ type: "scheduling.set", ...given }, call);
      return { index, term, ...settings() };
    },
    "vm.candidates": async (request) => reportOf(candidates(parts, request)),
  };
}

function candidates(parts: SchedulingParts, request: ParsedRequestOf<"vm.candidates">): PlacementDecision {
  const { name, spec, labels } = request;
  if (name !== undefined) {
    const vm = vmOf(parts, name);
    const moves = policyOf(vm).onNodeLoss === "move";
    return placeVm(parts, vm, imageFor(parts, vm.spec), { moves });
  }
  if (spec === undefined) throw notApplied("INVALID_ARGUMENT", "give either name or spec");
  const image = imageFor(parts, spec);
  const moves = lossPolicyOf(spec, { ownData: hasOwnData(spec, image) }).onNodeLoss === "move";
  const vm: PlacedSubject = { spec, ...(labels === undefined ? {} : { labels }) };
  return placeVm(parts, vm, image, { moves });
}

function reportOf(decision: PlacementDecision): PlacementReport {
  const nodes = [...decision.nodes];
  return decision.ok
    ? { nodeId: decision.nodeId, message: decision.reasons, nodes }
    : { nodeId: null, message: decision.message, nodes };
}
