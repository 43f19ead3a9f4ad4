/** Which ports of a node lead to its VMs. A VM that is stopped keeps its node, and its ports there. */
import { forwardsCollide, listenAddressOf, type VmForward, type VmSpec } from "@blixard/protocol";
import { refuse } from "./outcomes.ts";
import type { ClusterState, Outcome } from "./types.ts";

/** A VM and where it is, or is to be. */
interface PlacedVm {
  readonly name?: string;
  readonly node?: number | null;
  readonly spec: Pick<VmSpec, "forwards">;
}

/** Why the node cannot listen for a VM with these forwards; undefined when it can. */
export function forwardRefusal(
  nodeId: number,
  { forwards = [] }: Pick<VmSpec, "forwards">,
  vms: Iterable<PlacedVm>,
): string | undefined {
  if (forwards.length === 0) return undefined;
  for (const vm of vms) {
    if (vm.node !== nodeId) continue;
    const taken = forwards.find((wanted) => vm.spec.forwards?.some((present) => forwardsCollide(wanted, present)));
    if (taken !== undefined)
      return `${placeOf(taken)} leads to ${vm.name === undefined ? "another VM" : `the VM ${vm.name}`}`;
  }
  return undefined;
}

/** Why a VM cannot be on a node where it is not yet: decisions of the leader may cross. */
export function forwardConflict(
  { vms }: Pick<ClusterState, "vms">,
  nodeId: number,
  spec: Pick<VmSpec, "forwards">,
): Outcome | undefined {
  const taken = forwardRefusal(nodeId, spec, vms.values());
  if (taken === undefined) return undefined;
  return refuse("CONFLICT", `node ${nodeId} cannot take the VM: ${taken}`, "Try again.");
}

function placeOf(forward: VmForward): string {
  return `its ${forward.protocol === "udp" ? "UDP port" : "port"} ${listenAddressOf(forward)}:${forward.port}`;
}
