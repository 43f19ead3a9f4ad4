/** Who must be able to open the user data of a VM, and the command that brings the sealed copy up to that. */
import type { CommandBodyOf, NodeRecord, SealedSecret, VmRecord } from "@blixard/protocol";
import { done, refuse } from "./outcomes.ts";
import { sortedRecords } from "./state.ts";
import type { Change, ClusterState, Outcome } from "./types.ts";

/** The node keys that must be able to open it, in order: those of the voters, and of the node that has the VM. */
export function sealedFor(state: ClusterState, nodeOfVm: number | null): string[] {
  const holders = sortedRecords(state, "nodes").filter(
    ({ id, role }) => role === "voter" || role === "witness" || id === nodeOfVm,
  );
  return [...new Set(holders.flatMap(keysOf))].sort();
}

/** A node that changes its key is given what it must open under the next one too, before it forgets the present one. */
function keysOf({ endpointId, nextKey }: NodeRecord): string[] {
  return nextKey === undefined ? [endpointId] : [endpointId, nextKey.endpointId];
}

export function keyNames({ keys }: SealedSecret): string[] {
  return keys.map(({ endpointId }) => endpointId).sort();
}

/** Ties a sealed secret to its place: the copy of one VM opens nothing in that of another. */
export function secretContext(clusterId: string, vmId: string): string {
  return `user data ${clusterId} ${vmId}`;
}

export function applyReseal(state: ClusterState, body: CommandBodyOf<"vm.reseal">): Outcome {
  const sealed = state.secrets.get(body.vmId);
  if (sealed === undefined) return refuse("VM_NOT_FOUND", "there is no VM with such user data");
  const { ephemeralKey, keys } = body;
  return done({}, [{ table: "secrets", key: body.vmId, value: { data: sealed.data, ephemeralKey, keys } }]);
}

/** The change that forgets the user data of a VM that is forgotten. */
export function secretGone(state: ClusterState, { vmId }: VmRecord): Change[] {
  return state.secrets.has(vmId) ? [{ table: "secrets", key: vmId, value: undefined }] : [];
}
