/** Which ports of a node lead to its VMs. A VM that is stopped keeps its node, and its ports there. */
import { forwardsCollide, listenAddressOf, type VmForward, type VmSpec } from "@blixard/protocol";

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

function placeOf(forward: VmForward): string {
  return `its port ${listenAddressOf(forward)}:${forward.port}`;
}
