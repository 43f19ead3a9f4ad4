/** What every node says of its connections with the others: the path of each pair, as each side sees it. */
import { decodeServiceResponse, encodeServiceCall, type MemberStatus, methods, type NodeView } from "@blixard/protocol";
import { randomRequestId } from "../ids.ts";
import { withTimeLimit } from "../wait-for-change.ts";
import { nodeMeta, type ServiceContext } from "./service-context.ts";
import { memberStatuses } from "./status-service.ts";

type Paths = NonNullable<NodeView["paths"]>;

const askTimeoutMs = 1_000;

/** By node id. A node that cannot be asked, or does not answer in time, is left out. */
export async function pathsOfAll(context: ServiceContext, signal: AbortSignal): Promise<ReadonlyMap<number, Paths>> {
  const own = memberStatuses(context);
  const connected = own.filter(({ path }) => path === "direct" || path === "relay");
  const asked = await Promise.allSettled(connected.map(({ id }) => membersAsSeenBy(context, id, signal)));
  const paths = new Map([[context.options.nodeId as number, pathsIn(own)]]);
  for (const [at, answer] of asked.entries()) {
    const from = connected[at]?.id;
    if (from !== undefined && answer.status === "fulfilled") paths.set(from, pathsIn(answer.value));
  }
  return paths;
}

async function membersAsSeenBy(context: ServiceContext, nodeId: number, signal: AbortSignal): Promise<MemberStatus[]> {
  const { clock, transport, options, random } = context;
  const meta = nodeMeta(options.nodeId, randomRequestId(random), askTimeoutMs);
  const payload = encodeServiceCall({ name: "status.get", request: {}, meta });
  const answer = await withTimeLimit(clock, askTimeoutMs, signal, (limited) =>
    transport.call(nodeId, "status.get", payload, { timeoutMs: askTimeoutMs, signal: limited }),
  );
  return methods["status.get"].response.parse(decodeServiceResponse(answer)).members;
}

function pathsIn(members: readonly MemberStatus[]): Paths {
  return members
    .filter(({ path }) => path !== "self")
    .map(({ id, transport, path, rttMs }) => ({ to: id, transport, path, rttMs }));
}
