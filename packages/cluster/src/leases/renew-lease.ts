/** A node asks its leader for the right to run the VMs that move. */
import { notApplied } from "@blixard/common";
import type { ParsedRequestOf } from "@blixard/protocol";
import type { CallScope, Handlers } from "../calls/call-types.ts";
import { assertSpeaksFor } from "../calls/identify.ts";
import type { NodeParts } from "../node-parts.ts";
import { unremembered } from "../services/propose.ts";

/** What this method uses of the node. */
type Parts = Pick<NodeParts, "clock" | "options" | "raft" | "leases" | "proposals">;

export function leaseHandlers(parts: Parts): Pick<Handlers, "node.renewLease"> {
  const { clock, options, raft, leases } = parts;
  return {
    "node.renewLease": async (request, call) => {
      const { nodeId, unguarded, longLease } = request;
      assertSpeaksFor(call, nodeId);
      const term = ledTerm(parts);
      const isGranted = leases.asked(term, nodeId, clock.monotonicMs(), unguarded);
      if (isGranted) await keepLongLease(parts, request, call);
      // Asked of a majority after the question came in: whoever leads in a later term began to count after it.
      const index = await raft.read({ signal: call.signal });
      if (ledTerm(parts) !== term) throw notApplied("NOT_LEADER", "another term began meanwhile");
      return { leaseMs: isGranted ? Math.max(options.leaseMs, longLease?.ms ?? 0) : 0, index };
    },
  };
}

/** Before it is granted, and until the node holds nothing of it any more, it stands where the next leader reads it. */
async function keepLongLease(
  { proposals }: Parts,
  { nodeId, longLease }: ParsedRequestOf<"node.renewLease">,
  call: CallScope,
): Promise<void> {
  if (longLease === undefined) return;
  await proposals.propose({ type: "node.update", nodeId, longLease }, unremembered(call));
}

/** Not from the status that is told to others, which may lag behind the core. @throws NOT_LEADER */
function ledTerm({ raft }: Pick<NodeParts, "raft">): number {
  const { role, term } = raft.coreStatus();
  if (role === "StateLeader") return term;
  throw notApplied("NOT_LEADER", "this node does not lead");
}
