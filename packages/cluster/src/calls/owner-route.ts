/** Finds the node that owns the VM, or has the volume, that a call names. */
import { BlixardError, errorCodeOf, notApplied } from "@blixard/common";
import { forwardHopsMax } from "@blixard/protocol";
import type { NodeParts } from "../node-parts.ts";
import { isReachable } from "../peers/reachability.ts";
import { lostNodeOf, nodeLostError } from "../services/lost-node.ts";
import type { CallScope } from "./call-types.ts";
import { noLeader } from "./leader-route.ts";

/** What these steps use of the node. */
type OwnerRouteParts = Pick<NodeParts, "options" | "raft" | "transport" | "stateMachine">;

/**
 * Returns the node to forward to, or undefined when the call runs here or the VM does not exist.
 * @throws UNAVAILABLE, and NODE_LOST at once for a node that neither the leader nor this one hears
 */
export async function ownerToAsk(parts: OwnerRouteParts, vmName: string, call: CallScope): Promise<number | undefined> {
  const { stateMachine, options } = parts;
  // The state of this node may be old: it is read again after a read index before the answer is "no such VM".
  if (!stateMachine.state.vms.has(vmName)) await waitForReadIndex(parts, call.signal);
  const vm = stateMachine.state.vms.get(vmName);
  if (vm === undefined || vm.node === options.nodeId) return undefined;
  if (vm.node === null) {
    throw new BlixardError("UNAVAILABLE", `the VM ${vmName} is placed on no node`, {
      hint: `Start it: blixard vm start ${vmName}`,
    });
  }
  if (call.meta.hops >= forwardHopsMax) throw new BlixardError("UNAVAILABLE", `the VM ${vmName} is moving`);
  const lost = lostNodeOf(parts, vm);
  if (lost !== undefined) throw nodeLostError(vm, lost);
  return vm.node;
}

/** As {@link ownerToAsk}, for the node that has a volume. @throws UNAVAILABLE, NODE_LOST */
export async function volumeNodeToAsk(
  parts: OwnerRouteParts,
  name: string,
  call: CallScope,
): Promise<number | undefined> {
  const { stateMachine, options } = parts;
  if (!stateMachine.state.volumes.has(name)) await waitForReadIndex(parts, call.signal);
  const { node } = stateMachine.state.volumes.get(name) ?? {};
  if (node === undefined || node === options.nodeId) return undefined;
  if (call.meta.hops >= forwardHopsMax) {
    throw new BlixardError("UNAVAILABLE", `the volume ${name} goes to another node`);
  }
  if (!isReachable(parts, node)) {
    throw notApplied("NODE_LOST", `node ${node}, which has the volume ${name}, does not answer`, {
      hint: `Bring node ${node} back. See: blixard nodes list`,
      details: { nodeId: node },
    });
  }
  return node;
}

export async function waitForReadIndex({ raft }: Pick<OwnerRouteParts, "raft">, signal: AbortSignal): Promise<void> {
  try {
    // RaftNode asks again by itself until the caller's time is over.
    await raft.readIndex({ signal });
  } catch (error) {
    if (errorCodeOf(error) === "CANCELLED" || raft.status.value.leaderId !== 0) throw error;
    throw noLeader(error);
  }
}
