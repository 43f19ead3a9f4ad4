/** The VM methods. The leader places, numbers and dates here; `apply` only checks and stores. */
import { BlixardError } from "@blixard/common";
import type { CommandBody, ImageRecord, ParsedRequestOf, ResponseOf, VmRecord, VmSpec } from "@blixard/protocol";
import type { CallScope, Handlers } from "../calls/call-types.ts";
import { randomUuid } from "../ids.ts";
import { isReachable } from "../peers/reachability.ts";
import {
  type PlacementDecision,
  type Reservation,
  type SchedulerNode,
  schedule,
  usageByNode,
} from "../scheduler/scheduler.ts";
import { nodeKey, sortedRecords } from "../state-machine/state.ts";
import { propose } from "./propose.ts";
import type { ServiceContext } from "./service-context.ts";

type VmMethods =
  | "vm.list"
  | "vm.get"
  | "vm.explain"
  | "vm.create"
  | "vm.desire"
  | "vm.observe"
  | "vm.consoleRead"
  | "vm.consoleWrite";

export function vmHandlers(context: ServiceContext): Pick<Handlers, VmMethods> {
  const state = () => context.stateMachine.state;
  return {
    "vm.list": async () => ({ items: sortedRecords(state(), "vms") }),
    "vm.get": async ({ name }) => vmOf(context, name),
    "vm.explain": async ({ name }) => explanationOf(vmOf(context, name)),
    "vm.create": (request, call) => createVm(context, request, call),
    "vm.desire": (request, call) => desireVm(context, request, call),
    "vm.observe": async (request, call) => {
      assertSpeaksFor(call, request.nodeId);
      const { index, term } = await propose(context, { type: "vm.observe", ...request }, call);
      return { index, term };
    },
    "vm.consoleRead": async ({ name, offset, bytesMax, waitMs }, call) =>
      context.vmManager.readConsole(vmOf(context, name).vmId, { offset, bytesMax, waitMs, signal: call.signal }),
    "vm.consoleWrite": async ({ name, data }) => {
      await context.vmManager.writeConsole(vmOf(context, name).vmId, data);
      return {};
    },
  };
}

function explanationOf(vm: VmRecord): ResponseOf<"vm.explain"> {
  const { name, node, phase, desired, reason, message, placement, conditions, fencingEpoch } = vm;
  const { onPartition } = vm.spec;
  return { name, node, phase, desired, reason, message, placement, conditions, onPartition, fencingEpoch };
}

export function vmOf(context: Pick<ServiceContext, "stateMachine">, name: string): VmRecord {
  const vm = context.stateMachine.state.vms.get(name);
  if (vm !== undefined) return vm;
  throw new BlixardError("VM_NOT_FOUND", `there is no VM ${name}`, { hint: "List the VMs with: blixard vm list" });
}

/** A node reports for itself only, whatever key it may hold beside. */
export function assertSpeaksFor(call: CallScope, nodeId: number): void {
  const { actor } = call.meta;
  if (actor.kind === "node" && actor.id === String(nodeId)) return;
  throw new BlixardError("PERMISSION_DENIED", `${actor.kind} ${actor.id} does not speak for node ${nodeId}`, {
    outcome: "not_applied",
  });
}

async function createVm(context: ServiceContext, request: ParsedRequestOf<"vm.create">, call: CallScope) {
  const { name, spec, desired } = request;
  const image = imageFor(context, spec);
  // When the name is taken, this may be the retry of a creation that was applied: only `apply` knows, by its id.
  const present = context.stateMachine.state.vms.get(name);
  const place = present?.node ? { nodeId: present.node, reasons: "" } : placeVm(context, spec, image);
  const reservation: Reservation = { nodeId: place.nodeId, spec };
  context.reservations.add(reservation);
  try {
    const vmId = randomUuid(context.random);
    const body = {
      type: "vm.create",
      name,
      vmId,
      spec,
      desired,
      node: place.nodeId,
      placement: place.reasons,
    } as const;
    const { index, term, value } = await propose<{ vm: VmRecord }>(context, body, call);
    return { index, term, vm: value.vm };
  } finally {
    context.reservations.delete(reservation);
  }
}

async function desireVm(context: ServiceContext, request: ParsedRequestOf<"vm.desire">, call: CallScope) {
  const { name, desired, restart, force } = request;
  if (force && desired !== "deleted") {
    throw new BlixardError("INVALID_ARGUMENT", "force: goes with deletion only", { outcome: "not_applied" });
  }
  const vm = context.stateMachine.state.vms.get(name);
  const body: CommandBody = force
    ? { type: "vm.purge", name }
    : { type: "vm.desire", name, desired, ...decideStart(context, vm, desired, restart) };
  const { index, term, value } = await propose<{ vm: VmRecord }>(context, body, call);
  return { index, term, vm: value.vm };
}

/** What a start needs: a new epoch unless the VM runs or resumes, a node if it has none, and room. */
function decideStart(
  context: ServiceContext,
  vm: VmRecord | undefined,
  desired: string,
  restart: boolean,
): { readonly newEpoch: boolean; readonly node?: number; readonly placement?: string } {
  // A VM that is not there may be the retry of what was done: `apply` answers it.
  if (vm === undefined || desired !== "running") return { newEpoch: false };
  const image = imageFor(context, vm.spec);
  if (vm.node === null) {
    const place = placeVm(context, vm.spec, image);
    return { newEpoch: true, node: place.nodeId, placement: place.reasons };
  }
  const settled = vm.phase === "Stopped" || vm.phase === "Failed" || vm.phase === "Stopping";
  const runs = vm.desired === "paused" || (vm.desired === "running" && !settled);
  if (vm.desired === "stopped" && settled) assertRoom(context, vm, image);
  return { newEpoch: restart || !runs };
}

function placeVm(context: ServiceContext, spec: VmSpec, image: ImageRecord) {
  const { state } = context.stateMachine;
  const nodes = [...state.nodes.values()].map((record) => ({ record, reachable: isReachable(context, record.id) }));
  const usage = usageByNode(state.vms.values(), context.reservations, context.options.scheduler);
  return placed(schedule({ spec, image, nodes, usage }, context.options.scheduler));
}

/** A stopped VM keeps its node but not its room. Cordons and silence are no matter: it is placed already. */
function assertRoom(context: ServiceContext, vm: VmRecord, image: ImageRecord): void {
  const { state } = context.stateMachine;
  const record = vm.node === null ? undefined : state.nodes.get(nodeKey(vm.node));
  if (record === undefined) return;
  const node: SchedulerNode = { record: { ...record, cordoned: false }, reachable: true };
  const usage = usageByNode(state.vms.values(), context.reservations, context.options.scheduler);
  placed(schedule({ spec: vm.spec, image, nodes: [node], usage }, context.options.scheduler));
}

function placed(decision: PlacementDecision) {
  if (decision.ok) return decision;
  throw new BlixardError(decision.code, decision.message, { hint: decision.hint, outcome: "not_applied" });
}

function imageFor(context: ServiceContext, spec: VmSpec): ImageRecord {
  const image = context.stateMachine.state.images.get(spec.image);
  if (image === undefined) {
    throw new BlixardError("IMAGE_NOT_FOUND", `there is no image ${spec.image}`, {
      hint: "List the images with: blixard image list",
      outcome: "not_applied",
    });
  }
  if (spec.memoryMiB >= image.minMemoryMiB) return image;
  const message = `spec.memoryMiB: the image ${image.name} needs ${image.minMemoryMiB} MiB at least`;
  throw new BlixardError("INVALID_ARGUMENT", message, { outcome: "not_applied" });
}
