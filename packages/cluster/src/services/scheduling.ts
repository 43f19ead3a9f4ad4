/** The settings of the scheduler, and what it would do. */
import { notApplied } from "@blixard/common";
import {
  hasOwnData,
  isQueued,
  lossPolicyOf,
  type ParsedRequestOf,
  type PlacementReport,
  type VmRecord,
} from "@blixard/protocol";
import type { Handlers } from "../calls/call-types.ts";
import { queueOf } from "../duties/queue-duty.ts";
import type { NodeParts } from "../node-parts.ts";
import type { PlacementDecision } from "../scheduler/scheduler-types.ts";
import { usedBy } from "../state-machine/quota.ts";
import { clusterKey, nodeKey } from "../state-machine/state.ts";
import { policyOf } from "../state-machine/vm-move.ts";
import { roomOfNodes, withoutNode } from "./capacity.ts";
import { nodeOf } from "./node.ts";
import { pageOf } from "./page.ts";
import { assertFitsImage, type PlacedSubject, placeVm, preemptionFor, schedulerOptions } from "./place-vm.ts";
import { refuseIfMatch } from "./propose.ts";
import { imageFor, vmOf } from "./vm.ts";

/** What these methods use of the node. */
type SchedulingParts = Pick<
  NodeParts,
  "clock" | "options" | "raft" | "transport" | "stateMachine" | "proposals" | "leases"
>;

type SchedulingMethods =
  | "scheduling.get"
  | "scheduling.set"
  | "vm.candidates"
  | "capacity.get"
  | "quota.list"
  | "quota.set"
  | "quota.remove";

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
    "vm.candidates": async (request) => {
      const report = reportOf(candidates(parts, request));
      const vm = request.name === undefined ? undefined : vmOf(parts, request.name);
      if (vm === undefined) return report;
      if (!isQueued(vm)) return { ...report, ...leaseOf(parts, vm) };
      const plan = preemptionFor(parts, vm, imageFor(parts, vm.spec));
      return { ...report, ...(plan === undefined ? {} : { preempts: plan.victims.map(({ name }) => name) }) };
    },
    "capacity.get": async ({ ifLost }) => {
      const lost = ifLost === undefined ? {} : { lost: withoutNode(parts, nodeOf(parts, ifLost).id) };
      const { state } = parts.stateMachine;
      return { nodes: roomOfNodes(parts), waiting: queueOf(state).map(({ name }) => name), ...lost };
    },
    "quota.list": async (asked) => {
      const { state, version } = parts.stateMachine;
      const quotas = Object.entries(state.cluster.get(clusterKey)?.quotas ?? {});
      const views = quotas.map(([project, quota]) => ({ project, quota, used: usedBy(state, project) }));
      return pageOf(views, asked, { keyOf: ({ project }) => project, index: version.value.appliedIndex });
    },
    "quota.set": async ({ project, quota }, call) => {
      refuseIfMatch(call, "a quota");
      const { index, term } = await parts.proposals.propose({ type: "quota.set", project, quota }, call);
      return { index, term };
    },
    "quota.remove": async ({ project }, call) => {
      refuseIfMatch(call, "a quota");
      const { index, term } = await parts.proposals.propose({ type: "quota.set", project }, call);
      return { index, term };
    },
  };
}

function leaseOf(parts: SchedulingParts, vm: VmRecord): Pick<PlacementReport, "leaseLeftMs" | "ifLost"> {
  const { raft, clock, stateMachine, leases } = parts;
  const node = vm.node === null ? undefined : stateMachine.state.nodes.get(nodeKey(vm.node));
  if (node === undefined || policyOf(vm).onNodeLoss !== "move") return {};
  const leftMs = leases.leftMs(raft.coreStatus().term, node.id, clock.monotonicMs(), node.longLease?.ms);
  const place = reportOf(placeVm(parts, vm, imageFor(parts, vm.spec), { moves: true, without: node.id }));
  const withinMs = Math.ceil(leases.wholeMs(node.longLease?.ms));
  return {
    leaseLeftMs: Math.max(0, Math.round(leftMs)),
    ifLost: { nodeId: place.nodeId, message: place.message, withinMs },
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
  assertFitsImage(spec, image);
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
