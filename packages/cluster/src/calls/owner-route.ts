/** Finds the node that owns the VM that a call names. */
import { BlixardError, errorCodeOf } from "@blixard/common";
import { forwardHopsMax } from "@blixard/protocol";
import type { NodeParts } from "../node-parts.ts";
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

export async function waitForReadIndex({ raft }: Pick<OwnerRouteParts, "raft">, signal: AbortSignal): Promise<void> {
  try {
    // RaftNode asks again by itself until the caller's time is over.
    await raft.readIndex({ signal });
  } catch (error) {
    if (errorCodeOf(error) === "CANCELLED" || raft.status.value.leaderId !== 0) throw error;
    throw noLeader(error);
  }
}
