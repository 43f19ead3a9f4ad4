/** The VM methods. The leader places, numbers and dates here; `apply` only checks and stores. */
import { notApplied, Semaphore } from "@blixard/common";
import {
  bootOrderRefusal,
  type CommandBody,
  type CommandBodyOf,
  disksRefusal,
  hasOwnData,
  type ImageRecord,
  lossPolicyOf,
  misfitOf,
  type ParsedRequestOf,
  pendingRestart,
  type ResponseOf,
  type VmRecord,
  type VmSpec,
  volumesOf,
  withOwnDrive,
} from "@blixard/protocol";
import type { CallScope, Handlers } from "../calls/call-types.ts";
import { assertSpeaksFor } from "../calls/identify.ts";
import { randomOperationId, randomUuid } from "../ids.ts";
import type { NodeParts } from "../node-parts.ts";
import type { PlacementDecision } from "../scheduler/scheduler-types.ts";
import { reservationOf } from "../scheduler/usage.ts";
import { isRemembered } from "../state-machine/apply-command.ts";
import { clusterLevel } from "../state-machine/level.ts";
import { leasesLevel, policyOf } from "../state-machine/vm-move.ts";
import { queueLevel } from "../state-machine/vm-queue.ts";
import { volumesRefusal } from "../state-machine/vm-set.ts";
import { chooseCards, type PromisedCards } from "./choose-cards.ts";
import { assertNodeAnswers, forcedEffect } from "./lost-node.ts";
import { pageOf } from "./page.ts";
import { assertFitsImage, placeVm } from "./place-vm.ts";
import { setVm } from "./vm-set.ts";
import { sealUserData } from "./vm-user-data.ts";
import { volumeOf } from "./volume.ts";

/** What these methods use of the node. */
type Parts = Pick<
  NodeParts,
  | "clock"
  | "random"
  | "options"
  | "raft"
  | "transport"
  | "vmManager"
  | "stateMachine"
  | "proposals"
  | "leases"
  | "reservations"
  | "sealing"
  | "identity"
>;

interface VmParts extends Parts {
  /** Addresses in private networks that this leader has given out and that no record shows yet. */
  readonly promisedCards: PromisedCards;
  readonly cardChanges: Semaphore;
}

type VmMethods =
  | "vm.list"
  | "vm.get"
  | "vm.explain"
  | "vm.create"
  | "vm.set"
  | "vm.desire"
  | "vm.observe"
  | "vm.consoleRead"
  | "vm.consoleWrite";

export function vmHandlers(node: Parts): Pick<Handlers, VmMethods> {
  const parts: VmParts = { ...node, promisedCards: new Set(), cardChanges: new Semaphore(1) };
  const state = () => node.stateMachine.state;
  return {
    "vm.list": async (asked) =>
      pageOf(state().vms.values(), asked, {
        keyOf: ({ name }) => name,
        index: parts.stateMachine.version.value.appliedIndex,
      }),
    "vm.get": async ({ name }) => vmOf(parts, name),
    "vm.explain": async ({ name }) => explanationOf(vmOf(parts, name)),
    "vm.create": (request, call) => createVm(parts, request, call),
    "vm.set": (request, call) => setVm(parts, request, call),
    "vm.desire": (request, call) => desireVm(parts, request, call),
    "vm.observe": async (request, call) => {
      assertSpeaksFor(call, request.nodeId);
      const { index, term } = await parts.proposals.propose({ type: "vm.observe", ...request }, call);
      return { index, term };
    },
    "vm.consoleRead": async ({ name, offset, bytesMax, waitMs }, call) =>
      parts.vmManager.readConsole(vmOf(parts, name).vmId, { offset, bytesMax, waitMs, signal: call.signal }),
    "vm.consoleWrite": async ({ name, data }) => {
      await parts.vmManager.writeConsole(vmOf(parts, name).vmId, data);
      return {};
    },
  };
}

function explanationOf(vm: VmRecord): ResponseOf<"vm.explain"> {
  const { name, node, phase, desired, reason, message, placement, conditions, fencingEpoch, ends, disks } = vm;
  const { onNodeLoss, onPartition, effect } = policyOf(vm);
  const loss = { onNodeLoss, onPartition, lossEffect: effect };
  const told = { name, node, phase, desired, reason, message, placement, conditions, ...loss, fencingEpoch };
  const pending = pendingRestart(vm);
  return {
    ...told,
    ...(ends === undefined ? {} : { ends }),
    ...(disks === undefined ? {} : { disks }),
    ...(pending.length === 0 ? {} : { pendingRestart: pending }),
  };
}

export function vmOf(parts: Pick<NodeParts, "stateMachine">, name: string): VmRecord {
  const vm = parts.stateMachine.state.vms.get(name);
  if (vm !== undefined) return vm;
  throw notApplied("VM_NOT_FOUND", `there is no VM ${name}`, { hint: "List the VMs with: blixard vm list" });
}

async function createVm(parts: VmParts, request: ParsedRequestOf<"vm.create">, call: CallScope) {
  const { name, desired } = request;
  const hasLeases = clusterLevel(parts.stateMachine.state) >= leasesLevel;
  // Members from before have no word for what was left out.
  const asked: VmSpec = hasLeases ? request.spec : { onPartition: "stop", ...request.spec };
  const image = imageFor(parts, asked);
  const spec = withOwnDrive(asked, image);
  const misplaced = misfitOf(spec) ?? bootOrderRefusal(spec, image);
  if (misplaced !== undefined) throw notApplied("INVALID_ARGUMENT", misplaced);
  assertFitsImage(spec, image);
  for (const volume of volumesOf(spec)) volumeOf(parts, volume);
  const stuck = volumesRefusal(spec);
  if (stuck !== undefined) throw notApplied("INVALID_ARGUMENT", stuck);
  const moves = hasLeases && lossPolicyOf(spec, { ownData: hasOwnData(spec, image) }).onNodeLoss === "move";
  const { labels } = request;
  const labelled = labels === undefined ? {} : { labels };
  // If the name is taken, this may be the retry of a creation that was applied. Only `apply` knows, by the request id.
  const present = parts.stateMachine.state.vms.get(name);
  const { reservations, promisedCards, random, stateMachine } = parts;
  const { state } = stateMachine;
  const cards = present === undefined ? chooseCards({ state, random, promised: promisedCards }, spec) : present.cards;
  const decision = present?.node
    ? { ok: true as const, nodeId: present.node, reasons: "" }
    : placeVm(parts, { spec, ...labelled }, image, { moves, reservations });
  const mayWait = clusterLevel(state) >= queueLevel && request.failIfPending !== true;
  const place = decision.ok || !mayWait ? placed(decision) : undefined;
  const where =
    place === undefined
      ? { placement: "", pending: whyNot(decision) }
      : { node: place.nodeId, placement: place.reasons };
  const reservation = place === undefined ? undefined : reservationOf({ spec, ...labelled }, place.nodeId);
  if (reservation !== undefined) reservations.add(reservation);
  const promise = { name, cards: cards ?? [] };
  promisedCards.add(promise);
  try {
    const vmId = randomUuid(random);
    const carded = cards === undefined || cards.length === 0 ? {} : { cards };
    const sealed = sealUserData(parts, spec, { vmId, node: place?.nodeId ?? null });
    const body = { type: "vm.create", name, vmId, ...sealed, desired, ...where, ...labelled, ...carded } as const;
    const { index, term, value } = await parts.proposals.propose<{ vm: VmRecord }>(body, call);
    return { index, term, vm: value.vm };
  } finally {
    if (reservation !== undefined) reservations.delete(reservation);
    promisedCards.delete(promise);
  }
}

async function desireVm(parts: VmParts, request: ParsedRequestOf<"vm.desire">, call: CallScope) {
  const { name, desired, restart, from, force } = request;
  if (force && desired !== "deleted" && desired !== "stopped") {
    throw notApplied("INVALID_ARGUMENT", "force: goes with stopped and deleted only");
  }
  if (from !== undefined && (desired !== "running" || restart)) {
    throw notApplied("INVALID_ARGUMENT", "from: goes with running only, and not with restart");
  }
  const { state } = parts.stateMachine;
  const vm = state.vms.get(name);
  // What stands now says nothing about a request that was applied before: `apply` answers that.
  if (vm !== undefined && !isRemembered(state, call.meta)) {
    assertStands(vm, desired, from);
    if (!force) assertNodeAnswers(parts, vm, desired);
  }
  const effect = force && vm !== undefined ? forcedEffect(parts, vm, desired) : undefined;
  // What takes effect later is an operation, on members that know of them.
  const hasOperations = clusterLevel(state) >= leasesLevel;
  const operation = effect !== undefined && hasOperations ? { operation: randomOperationId(parts.random) } : {};
  const body: CommandBody =
    force && desired === "deleted"
      ? { type: "vm.purge", name, ...operation }
      : { type: "vm.desire", name, desired, ...decideStart(parts, vm, desired, restart), ...operation };
  const { index, term, value } = await parts.proposals.propose<{ vm: VmRecord; operation?: string }>(body, call);
  const made = value.operation === undefined ? {} : { operation: value.operation };
  return { index, term, vm: value.vm, ...(effect === undefined ? {} : { effect }), ...made };
}

/** Only a VM that is to run can be paused, and only a paused one runs on. @throws CONFLICT */
function assertStands(vm: VmRecord, desired: string, from: "paused" | undefined): void {
  const verb = desired === "paused" ? "paused" : from === "paused" ? "resumed" : undefined;
  if (verb === undefined || vm.desired === "paused" || (vm.desired === "running" && !hasSettled(vm))) return;
  const now = hasSettled(vm) ? vm.phase : `to be ${vm.desired}`;
  throw notApplied("CONFLICT", `the VM ${vm.name} is ${now}: it cannot be ${verb}`, {
    hint: `Start it: blixard vm start ${vm.name}`,
  });
}

/** Whether the VM does not run, and does not begin to. */
function hasSettled({ phase }: VmRecord): boolean {
  return phase === "Stopped" || phase === "Failed" || phase === "Stopping";
}

/** Decides what a start needs: a new epoch unless the VM runs or resumes, a node if it has none, and room. */
function decideStart(
  parts: VmParts,
  vm: VmRecord | undefined,
  desired: string,
  restart: boolean,
): Pick<CommandBodyOf<"vm.desire">, "newEpoch" | "node" | "placement" | "pending"> {
  // A call for a VM that does not exist may be a retry. `apply` answers it.
  if (vm === undefined || desired !== "running") return { newEpoch: false };
  const image = imageFor(parts, vm.spec);
  if (vm.node === null) {
    const moves = policyOf(vm).onNodeLoss === "move";
    const decision = placeVm(parts, vm, image, { moves, reservations: parts.reservations });
    const mayWait = clusterLevel(parts.stateMachine.state) >= queueLevel && vm.phase !== "Unknown";
    if (!decision.ok && mayWait) return { newEpoch: false, pending: decision.message };
    const place = placed(decision);
    return { newEpoch: true, node: place.nodeId, placement: place.reasons };
  }
  const settled = hasSettled(vm);
  const runs = vm.desired === "paused" || (vm.desired === "running" && !settled);
  if (vm.desired === "stopped" && settled) assertRoom(parts, vm, image);
  return { newEpoch: restart || !runs };
}

/** Checks that the node of a stopped VM can run it: the VM keeps its node, not its room. Cordons do not count. */
function assertRoom(parts: VmParts, vm: VmRecord, image: ImageRecord): void {
  if (vm.node === null) return;
  const moves = policyOf(vm).onNodeLoss === "move";
  const { reservations } = parts;
  placed(placeVm(parts, vm, image, { moves, reservations, only: vm.node, stays: true }));
}

type Decision =
  | Pick<PlacementDecision & { ok: true }, "ok" | "nodeId" | "reasons">
  | (PlacementDecision & { ok: false });

function placed(decision: Decision) {
  if (decision.ok) return decision;
  throw notApplied(decision.code, decision.message, { hint: decision.hint });
}

function whyNot(decision: Decision): string {
  return decision.ok ? "" : decision.message;
}

/** @throws IMAGE_NOT_FOUND, INVALID_ARGUMENT where the image does not fit the specification */
export function imageFor(parts: Pick<NodeParts, "stateMachine">, spec: VmSpec): ImageRecord {
  const image = parts.stateMachine.state.images.get(spec.image);
  if (image === undefined) {
    throw notApplied("IMAGE_NOT_FOUND", `there is no image ${spec.image}`, {
      hint: "List the images with: blixard image list",
    });
  }
  const tooSmall = `spec.memoryMiB: the image ${image.name} needs ${image.minMemoryMiB} MiB at least`;
  const refusal = spec.memoryMiB < image.minMemoryMiB ? tooSmall : disksRefusal(spec, image);
  if (refusal !== undefined) throw notApplied("INVALID_ARGUMENT", refusal);
  return image;
}
