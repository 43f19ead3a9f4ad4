/** What every node says of its connections with the others: the path of each pair, as each side sees it. */
import type { MemberStatus, NodeView } from "@blixard/protocol";
import type { CallScope } from "../calls/call-types.ts";
import { memberStatuses } from "./cluster.ts";
import type { ServiceContext } from "./service-context.ts";

type Paths = NonNullable<NodeView["paths"]>;

/** By node id. A node that cannot be asked, or does not answer in time, is left out. */
export async function pathsOfAll(context: ServiceContext, call: CallScope): Promise<ReadonlyMap<number, Paths>> {
  const paths = new Map([[context.options.nodeId, pathsIn(memberStatuses(context))]]);
  for (const [nodeId, { members }] of await context.peerCalls.askMembers("status.get", {}, call)) {
    paths.set(nodeId, pathsIn(members));
  }
  return paths;
}

function pathsIn(members: readonly MemberStatus[]): Paths {
  return members
    .filter(({ path }) => path !== "self")
    .map(({ id, transport, path, rttMs }) => ({ to: id, transport, path, rttMs }));
}
