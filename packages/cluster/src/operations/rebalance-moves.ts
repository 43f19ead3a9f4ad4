/**
 * Which VMs would be better off on another node: a pure function of the state. One VM after the other is moved in thought, the one
 * that gains most first, and each step leaves the nodes more evenly loaded (`spread`) or more tightly packed (`binpack`) than
 * before. So it comes to an end, and what it comes to has nothing left to move: a second run moves nothing.
 */
import { hasLabels, hasOwnData, type ImageRecord, limits, type VmRecord } from "@blixard/protocol";
import { allowedOf } from "../scheduler/room.ts";
import { schedule } from "../scheduler/scheduler.ts";
import type { PlacementRequest, SchedulerOptions } from "../scheduler/scheduler-types.ts";
import { noUsage, type Usage } from "../scheduler/usage.ts";
import { sortedRecords } from "../state-machine/state.ts";
import type { ClusterState } from "../state-machine/types.ts";
import { policyOf } from "../state-machine/vm-move.ts";

/** More than a node gains by having the image; a move costs a stop and a start. */
const gainMin = 30;
/** Questions to the scheduler, each of which looks at all VMs: so that a large cluster does not hold up its leader. */
const lookedAtMax = 2_000_000;
const evennessMin = 1e-9;

export interface BalanceView {
  readonly state: ClusterState;
  readonly options: SchedulerOptions;
  /** What the scheduler is asked about a VM, as things are in `state`. */
  readonly requestOf: (vm: VmRecord, image: ImageRecord, state: ClusterState) => PlacementRequest;
}

export interface BalanceMove {
  readonly vm: string;
  readonly from: number;
  readonly to: number;
  readonly why: string;
}

interface Step extends BalanceMove {
  readonly gain: number;
}

export interface BalancePlan {
  readonly moves: readonly BalanceMove[];
  /** There is more to move, or may be: a run has an end, and the next one goes on. */
  readonly more: boolean;
}

export function rebalanceMoves(view: BalanceView): BalancePlan {
  const steps: Step[] = [];
  let present = view;
  let questions = Math.max(1, Math.floor(lookedAtMax / Math.max(1, view.state.vms.size)));
  for (;;) {
    const movable = sortedRecords(present.state, "vms").filter((vm) => isMovable(present.state, vm));
    const looked = movable.length <= questions ? movable : crowdedFirst(movable).slice(0, questions);
    questions -= looked.length;
    const step = bestStep(present, looked);
    const isOver = step === undefined || steps.length === limits.rebalanceMovesMax;
    // A run that moves nothing is the last one: where not all can be looked at, the next one would look at the same.
    const more = step !== undefined || (steps.length > 0 && looked.length < movable.length);
    if (isOver) return { moves: whole(view.state, steps), more };
    steps.push(step);
    present = { ...present, state: moved(present.state, step) };
  }
}

/** Where not all can be looked at, those of the nodes with the most VMs come first. */
function crowdedFirst(vms: readonly VmRecord[]): VmRecord[] {
  const counts = new Map<number | null, number>();
  for (const { node } of vms) counts.set(node, (counts.get(node) ?? 0) + 1);
  return [...vms].sort((a, b) => (counts.get(b.node) ?? 0) - (counts.get(a.node) ?? 0));
}

/** Of a VM that was moved more than once, from where it is to where it ends. */
function whole(state: ClusterState, steps: readonly Step[]): BalanceMove[] {
  const last = new Map(steps.map((step) => [step.vm, step]));
  return [...last.values()].flatMap(({ vm, to, why }): BalanceMove[] => {
    const from = state.vms.get(vm)?.node;
    return from === undefined || from === null || from === to ? [] : [{ vm, from, to, why }];
  });
}

function moved(state: ClusterState, { vm: name, to }: Step): ClusterState {
  const vm = state.vms.get(name);
  return vm === undefined ? state : { ...state, vms: new Map(state.vms).set(name, { ...vm, node: to }) };
}

function bestStep(view: BalanceView, movable: readonly VmRecord[]): Step | undefined {
  let best: Step | undefined;
  for (const vm of movable) {
    const step = stepOf(view, vm);
    if (step !== undefined && step.gain > (best?.gain ?? 0)) best = step;
  }
  return best;
}

function stepOf({ state, options, requestOf }: BalanceView, vm: VmRecord): Step | undefined {
  const image = state.images.get(vm.spec.image);
  if (image === undefined || vm.node === null) return undefined;
  const request = requestOf(vm, image, state);
  const { nodes } = schedule(request, options);
  const [best] = nodes;
  const here = nodes.find(({ nodeId }) => nodeId === vm.node);
  const present = request.nodes.find(({ record }) => record.id === vm.node);
  // What a cordon says is about VMs that come, and a node that does not answer lets none go.
  if (present?.reachable !== true || present.record.cordoned || present.record.leaving === true) return undefined;
  if (best?.fits !== true || here === undefined || best.nodeId === vm.node) return undefined;
  const score = here.fits ? here.score : 0;
  const gain = best.score - score;
  if (gain < gainMin || !improves(request, options, { from: vm.node, to: best.nodeId })) return undefined;
  const why = `${best.score} points there, ${here.fits ? `${score} here` : `none here: ${here.reason}`}`;
  return { vm: vm.name, from: vm.node, to: best.nodeId, why, gain };
}

/** Whether the squares of the loads come to less, or with `binpack` to more. */
function improves(
  request: PlacementRequest,
  options: SchedulerOptions,
  { from, to }: { readonly from: number; readonly to: number },
): boolean {
  const without = (id: number) => request.usage.get(id) ?? noUsage;
  const withVm = (id: number): Usage => {
    const { vcpus, memoryMiB } = request.spec;
    const used = without(id);
    return {
      ...used,
      vcpus: used.vcpus + vcpus,
      memoryMiB: used.memoryMiB + memoryMiB + options.overheadMemoryMiB,
    };
  };
  const load = (id: number, used: Usage) => loadOf(request, options, id, used) ** 2;
  const before = load(from, withVm(from)) + load(to, without(to));
  const after = load(from, without(from)) + load(to, withVm(to));
  return options.strategy === "spread" ? after < before - evennessMin : after > before + evennessMin;
}

/** The part of what is scarcest there that is taken. */
function loadOf({ nodes }: PlacementRequest, options: SchedulerOptions, id: number, used: Usage): number {
  const node = nodes.find(({ record }) => record.id === id);
  if (node === undefined) return 0;
  const allowed = allowedOf(node.record.capacity, options);
  return Math.max(used.memoryMiB / Math.max(1, allowed.memoryMiB), used.vcpus / Math.max(1, allowed.vcpus));
}

/** It runs, loses nothing by a move, and no operation and no other VM wants it where it is. */
function isMovable(state: ClusterState, vm: VmRecord): boolean {
  const { desired, phase, held, home, nextLossPolicy } = vm;
  if (desired !== "running" || phase !== "Running") return false;
  if (held !== undefined || home !== undefined || nextLossPolicy !== undefined) return false;
  const image = state.images.get(vm.spec.image);
  if (image === undefined || hasOwnData(vm.spec, image) || policyOf(vm).effect !== "moves") return false;
  return !isWantedNear(state, vm);
}

function isWantedNear(state: ClusterState, { name, labels }: VmRecord): boolean {
  for (const other of state.vms.values()) {
    const near = other.spec.placement?.affinity?.some(({ type, vms }) => type === "near" && hasLabels(labels, vms));
    if (near === true && other.name !== name) return true;
  }
  return false;
}
