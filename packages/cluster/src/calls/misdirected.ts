/** People and programs are served by voters only: nobody else is shown a token, or decides what its holder may do. */
import { type BlixardError, notApplied } from "@blixard/common";
import { nodeKey, sortedRecords } from "../state-machine/state.ts";
import type { ClusterState } from "../state-machine/types.ts";

/** Where a caller that shows a token, a key or a ticket has to go instead; undefined when it is right here. */
export function misdirected(state: ClusterState, nodeId: number): BlixardError | undefined {
  const role = state.nodes.get(nodeKey(nodeId))?.role;
  if (role === "voter") return undefined;
  if (role === undefined) {
    return notApplied("UNAVAILABLE", "this node does not know yet what it is in its cluster", {
      hint: "Try again soon, or ask another node.",
    });
  }
  const voters = votersToAsk(state);
  const where = voters.flatMap(({ addresses }) => addresses.slice(0, 1)).join(", ");
  return notApplied("MISDIRECTED", `node ${nodeId} is a ${role}: it takes no token, key or ticket of anybody`, {
    hint: where === "" ? "Ask a voter." : `Ask a voter, for example at ${where}.`,
    details: { voters },
  });
}

/** The voters, by id, at the addresses of their records. */
export function votersToAsk(state: ClusterState): { readonly endpointId: string; readonly addresses: string[] }[] {
  return sortedRecords(state, "nodes")
    .filter(({ role, leaving, addresses }) => role === "voter" && !leaving && addresses.length > 0)
    .map(({ endpointId, addresses }) => ({ endpointId, addresses: [...addresses] }));
}
