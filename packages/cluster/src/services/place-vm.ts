/** Asks the scheduler for a node, with what this leader knows of all of them. */
import { type ImageRecord, type NodeRecord, type VmSpec, volumesOf } from "@blixard/protocol";
import type { NodeParts } from "../node-parts.ts";
import { isReachable } from "../peers/reachability.ts";
import {
  type PlacementDecision,
  type Reservation,
  type SchedulerNode,
  schedule,
  usageByNode,
} from "../scheduler/scheduler.ts";
import { forwardRefusal } from "../state-machine/vm-forwards.ts";

export interface PlaceOptions {
  /** The VM needs the lease of its node, which a node without a working watchdog does not get. */
  readonly moves: boolean;
  /** Not this node, whose lease is over. */
  readonly without?: number;
  /** Not this node, which the VM is to leave. */
  readonly leaves?: number;
  /** Room that was promised and that no record shows yet. */
  readonly reservations?: Iterable<Reservation>;
  /** No other node will do. */
  readonly only?: number;
  /** The VM has `only` already, stopped: neither a cordon nor silence takes that away, and its ports there are its own. */
  readonly stays?: boolean;
}

type PlaceParts = Pick<NodeParts, "options" | "raft" | "transport" | "stateMachine" | "leases">;

export function placeVm(
  parts: PlaceParts,
  spec: VmSpec,
  image: ImageRecord,
  { moves, without, leaves, reservations = [], only, stays = false }: PlaceOptions,
): PlacementDecision {
  const { state } = parts.stateMachine;
  const promised = [...reservations];
  const volumes = volumesOf(spec).map((name) => state.volumes.get(name));
  const portRefusal = ({ id, addresses }: Pick<NodeRecord, "id" | "addresses">): string | undefined => {
    const own = spec.forwards?.find(({ port }) => addresses.some((address) => address.endsWith(`:${port}`)));
    if (own !== undefined) return `its port ${own.port} is its own`;
    const soon = promised.map(({ spec, nodeId }) => ({ spec, node: nodeId }));
    return forwardRefusal(id, spec, state.vms.values()) ?? forwardRefusal(id, spec, soon);
  };
  const refusalOf = ({ id, addresses }: NodeRecord): string | undefined => {
    if (id === without) return "its lease is over";
    if (id === leaves) return "the VM is to leave it";
    const elsewhere = volumes.find((volume) => volume?.node !== id);
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
  const usage = usageByNode(state.vms.values(), promised, parts.options.scheduler);
  return schedule({ spec, image, nodes, usage }, parts.options.scheduler);
}
