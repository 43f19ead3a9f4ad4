import type { DesiredVm } from "@blixard/vm-manager";
import { DesiredVms } from "../duties/desired-vms.ts";
import type { ClusterState } from "../state-machine/types.ts";

/** What a state wants of the VMs of a node that sees it for the first time; their user data cannot be opened. */
export function desiredOf(state: ClusterState, nodeId: number): readonly DesiredVm[] {
  const version = { value: { appliedIndex: 0, changed: {} } };
  const stateMachine = { state, version, keysSince: () => undefined };
  const first = stateMachine as unknown as ConstructorParameters<typeof DesiredVms>[0];
  return new DesiredVms(first, nodeId, () => () => undefined).list;
}
