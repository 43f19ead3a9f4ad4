/** Asks the scheduler for a node, with what this leader knows of all of them. */
import { notApplied } from "@blixard/common";
import {
  type ImageRecord,
  imageMisfit,
  type NodeRecord,
  priorityOf,
  recordedNetworksOf,
  type VmRecord,
  type VmSpec,
  volumesOf,
} from "@blixard/protocol";
import type { NodeParts } from "../node-parts.ts";
import { isReachable } from "../peers/reachability.ts";
import { type Preemption, planPreemption, type Victim } from "../scheduler/preempt.ts";
import { schedule } from "../scheduler/scheduler.ts";
import type {
  PlacedVm,
  PlacementDecision,
  PlacementRequest,
  SchedulerNode,
  SchedulerOptions,
} from "../scheduler/scheduler-types.ts";
import { type Reservation, usageByNode, volumesMiBOf } from "../scheduler/usage.ts";
import { vmIndexOf } from "../scheduler/vm-index.ts";
import { clusterKey, nodeKey } from "../state-machine/state.ts";
import type { ClusterState } from "../state-machine/types.ts";
import { forwardRefusal } from "../state-machine/vm-forwards.ts";
import { policyOf } from "../state-machine/vm-move.ts";
import { isPreemptible } from "../state-machine/vm-queue.ts";

export interface PlaceOptions {
  /** The VM needs the lease of its node, which a node without a working watchdog does not get. */
  readonly moves: boolean;
  /** Not this node, whose lease is over. */
  readonly without?: number;
  /** Nor those: a VM that is given to a node without a lease is taken from it again at once. */
  readonly hasNoLease?: (node: NodeRecord) => boolean;
  /** Not this node, which the VM is to leave. */
  readonly leaves?: number;
  /** Room that was promised and that no record shows yet. */
  readonly reservations?: Iterable<Reservation>;
  /** Its volumes go along to another node, when that has room for them. */
  readonly carries?: boolean;
  /** No other node will do. */
  readonly only?: number;
  /** The VM has `only` already, stopped: neither a cordon nor silence takes that away, and its ports there are its own. */
  readonly stays?: boolean;
  /** In which it is placed. Default: that of this node. */
  readonly state?: ClusterState;
}

/** What is read of the VM: `name` and `node` are those of its record, if it has one. */
export type PlacedSubject = Pick<VmRecord, "spec" | "labels"> & Partial<Pick<VmRecord, "name" | "node">>;

type PlaceParts = Pick<NodeParts, "options" | "raft" | "transport" | "stateMachine" | "leases">;

export function placeVm(
  parts: PlaceParts,
  vm: PlacedSubject,
  image: ImageRecord,
  options: PlaceOptions,
): PlacementDecision {
  return schedule(placementRequest(parts, vm, image, options), schedulerOptions(parts));
}

/** What the scheduler is asked. */
export function placementRequest(
  parts: PlaceParts,
  vm: PlacedSubject,
  image: ImageRecord,
  options: PlaceOptions,
): PlacementRequest {
  const { moves, without, leaves, reservations = [], only, stays = false, carries = false } = options;
  const { state = parts.stateMachine.state } = options;
  const { labels = {} } = vm;
  const { placement, ...unplaced } = vm.spec;
  // What it was placed by does not take its place away.
  const spec = stays || placement === undefined ? unplaced : vm.spec;
  const promised = [...reservations];
  const volumes = volumesOf(spec).map((name) => state.volumes.get(name));
  const portRefusal = ({ id, addresses }: Pick<NodeRecord, "id" | "addresses">): string | undefined => {
    const own = spec.forwards?.find(({ port }) => addresses.some((address) => address.endsWith(`:${port}`)));
    if (own !== undefined) return `its port ${own.port} is its own`;
    const soon = promised.map(({ spec, nodeId }) => ({ spec, node: nodeId }));
    return forwardRefusal(id, spec, state.vms.values()) ?? forwardRefusal(id, spec, soon);
  };
  const refusalOf = (record: NodeRecord): string | undefined => {
    const { id, addresses } = record;
    if (id === without || options.hasNoLease?.(record) === true) return "its lease is over";
    if (id === leaves) return "the VM is to leave it";
    const elsewhere = carries ? undefined : volumes.find((volume) => volume?.node !== id);
    if (elsewhere !== undefined) return `the volume ${elsewhere.name} is on node ${elsewhere.node}`;
    const taken = stays ? undefined : portRefusal({ id, addresses });
    if (taken !== undefined) return taken;
    const unguarded = moves ? parts.leases.unguarded(id) : undefined;
    return unguarded === undefined ? undefined : `nothing there stops a VM that moves: ${unguarded}`;
  };
  const candidates = [...state.nodes.values()].filter(({ id }) => only === undefined || id === only);
  const nodes = candidates.map((record): SchedulerNode => {
    const refusal = refusalOf(record);
    const node = stays
      ? { record: { ...record, cordoned: false }, reachable: true }
      : { record, reachable: isReachable(parts, record.id) };
    return refusal === undefined ? node : { ...node, refusal };
  });
  const usage = usageByNode(state, promised, schedulerOptions(parts), vm.name);
  const vms = stays ? [] : placedVms(state, promised, vm);
  const present = vm.node === undefined || vm.node === null ? {} : { presentOn: vm.node };
  const carriedMiB = carries ? volumesMiBOf(state, spec) : 0;
  const cards = recordedNetworksOf(spec).flatMap(({ network }) => {
    const bridge = state.networks.get(network)?.bridge;
    return bridge === undefined ? [] : [{ network, bridge }];
  });
  return { spec, labels, cards, image, carriedMiB, nodes, usage, vms, ...present };
}

/** The settings of the cluster, where it has some, before those of this node. */
export function schedulerOptions({
  options,
  stateMachine,
}: Pick<NodeParts, "options" | "stateMachine">): SchedulerOptions {
  return { ...options.scheduler, ...stateMachine.state.cluster.get(clusterKey)?.scheduling };
}

/** The VMs whose places matter to this one: all, where it looks at others, or those that look at it. */
function placedVms(state: ClusterState, promised: readonly Reservation[], { name, spec }: PlacedSubject): PlacedVm[] {
  const placed: PlacedVm[] = [];
  const { affinity = [], spread } = spec.placement ?? {};
  const looksAtAll = affinity.length > 0 || spread !== undefined;
  const add = (nodeId: number | null, { labels, spec: other }: Pick<VmRecord, "labels" | "spec">) => {
    const { placement } = other;
    const node = nodeId === null ? undefined : state.nodes.get(nodeKey(nodeId));
    if (node === undefined || !(looksAtAll || placement?.affinity !== undefined)) return;
    placed.push({ node, labels: labels ?? {}, ...(placement === undefined ? {} : { placement }) });
  };
  const names = looksAtAll ? state.vms.keys() : vmIndexOf(state).affine;
  for (const each of names) {
    const vm = state.vms.get(each);
    if (vm !== undefined && each !== name) add(vm.node, vm);
  }
  for (const vm of promised) add(vm.nodeId, vm);
  return placed;
}

/** The VMs that would be stopped to make room for one that waits for it; undefined when that would not help. */
export function preemptionFor(parts: PlaceParts, vm: VmRecord, image: ImageRecord): Preemption | undefined {
  const priority = priorityOf(vm.spec);
  const victims = [...parts.stateMachine.state.vms.values()].flatMap((other): Victim[] => {
    const { name, node, spec } = other;
    if (node === null || !isPreemptible(other) || priorityOf(spec) >= priority) return [];
    return [{ name, node, spec, priority: priorityOf(spec) }];
  });
  if (victims.length === 0) return undefined;
  const moves = policyOf(vm).onNodeLoss === "move";
  return planPreemption(placementRequest(parts, vm, image, { moves }), victims, schedulerOptions(parts));
}

/** Those of the highest priority first, and of these as they were. */
export function byPriority(vms: readonly VmRecord[]): VmRecord[] {
  return [...vms].sort((a, b) => priorityOf(b.spec) - priorityOf(a.spec));
}

/** Else it would wait for a node that there cannot be. @throws UNSUPPORTED */
export function assertFitsImage(spec: VmSpec, image: ImageRecord): void {
  const misfit = imageMisfit({ spec, image });
  if (misfit !== undefined) throw notApplied("UNSUPPORTED", misfit, { hint: "Leave that out, or use another image." });
}
