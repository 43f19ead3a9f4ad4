/** The members, each with what this node knows of the way to it. */
import type { MemberStatus } from "@blixard/protocol";
import type { NodeParts } from "../node-parts.ts";
import { sortedRecords } from "../state-machine/state.ts";
import { progressOf } from "./reachability.ts";

type MemberStatusParts = Pick<NodeParts, "options" | "raft" | "transport" | "bulkRoutes" | "stateMachine">;

export function memberStatuses(parts: MemberStatusParts): MemberStatus[] {
  const sessions = new Map(parts.transport.sessions().map((session) => [session.nodeId, session]));
  const bulkRoutes = new Map(parts.bulkRoutes().map(({ nodeId, route, reason }) => [nodeId, { route, reason }]));
  const { voters } = parts.raft.status.value.confState;
  return sortedRecords(parts.stateMachine.state, "nodes").map((node) => {
    const self = node.id === parts.options.nodeId;
    const session = sessions.get(node.id);
    return {
      id: node.id,
      name: node.name,
      endpointId: node.endpointId,
      // A voter to be votes only once it has caught up and the Raft configuration says so.
      role: node.role === "voter" && !voters.some((id) => id === node.id) ? "learner" : node.role,
      addresses: node.addresses,
      matchIndex: progressOf(parts, node.id)?.match ?? null,
      transport: session?.transport ?? "none",
      transportReason: session?.transportReason ?? null,
      path: self ? "self" : (session?.path ?? "none"),
      bulk: bulkRoutes.get(node.id) ?? null,
      rttMs: session?.rttMs ?? null,
      lastContactMs: self ? 0 : (session?.lastContactMs ?? null),
      session: session?.state ?? null,
      queuedMessages: session?.queuedMessages ?? null,
      lastError: session?.lastError ?? null,
    };
  });
}
