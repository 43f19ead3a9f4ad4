/** What every node says of its connections with the others: the path of each pair, as each side sees it. */
import type { MemberStatus, NodeView } from "@blixard/protocol";
import type { CallScope } from "../calls/call-types.ts";
import type { NodeParts } from "../node-parts.ts";
import { memberStatuses } from "../peers/member-statuses.ts";

/** What these methods use of the node. */
type PathParts = Pick<NodeParts, "options" | "raft" | "transport" | "bulkRoutes" | "stateMachine" | "peerCalls">;

type Paths = NonNullable<NodeView["paths"]>;

/** Returns the paths by node id, without nodes that cannot be asked or do not answer in time. */
export async function pathsOfAll(parts: PathParts, call: CallScope): Promise<ReadonlyMap<number, Paths>> {
  const paths = new Map([[parts.options.nodeId, pathsIn(memberStatuses(parts))]]);
  for (const [nodeId, { members }] of await parts.peerCalls.askMembers("status.get", {}, call)) {
    paths.set(nodeId, pathsIn(members));
  }
  return paths;
}

function pathsIn(members: readonly MemberStatus[]): Paths {
  return members
    .filter(({ path }) => path !== "self")
    .map(({ id, transport, path, rttMs }) => ({ to: id, transport, path, rttMs }));
}
