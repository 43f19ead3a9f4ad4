/** Asks a cluster to admit this machine: what a node does before it is one. */
import {
  BlixardError,
  type Clock,
  errorCodeOf,
  errorCodes,
  isBlixardError,
  type Random,
  sleep,
  toBlixardError,
} from "@blixard/common";
import {
  callPeer,
  type MemberRole,
  type NodeRecord,
  nodePlacesSchema,
  type RequestOf,
  type ShownTicket,
} from "@blixard/protocol";
import { randomRequestId } from "../ids.ts";
import { joinLimits } from "../join-limits.ts";
import type { ClusterEndpoint, ClusterTransport } from "../ports/cluster-transport.ts";

/** Whom to ask, and with what. */
export interface JoinTarget {
  /** Nodes that can be asked, best first. */
  readonly endpoints: readonly ClusterEndpoint[];
  /** Shows the ticket to the node with a key; null when the join policy has to decide. */
  readonly ticket: ((asked: string) => ShownTicket) | null;
  /** When known, an answer of another cluster is refused. */
  readonly clusterId?: string;
}

/** What a cluster says to a node that it admits. Keep it until the node has applied its own record. */
export interface JoinSeed {
  readonly clusterId: string;
  readonly nodeId: number;
  readonly role: MemberRole;
  readonly incarnation: number;
  readonly nodes: readonly NodeRecord[];
  /** A log position behind the admission: this node votes for nobody, and not for itself, before it has applied it. */
  readonly admission?: { readonly index: number; readonly term: number } | undefined;
}

export interface JoinDeps {
  readonly transport: ClusterTransport;
  readonly clock: Clock;
  readonly random: Random;
}

const { attemptTimeoutMs, pendingPollMs, pendingTimeoutMs } = joinLimits;
const backoffMsMin = 100;
const backoffMsMax = 2_000;

export interface RequestJoinOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** Called once when an operator has to accept this machine; from then on it waits for an hour. */
  readonly onPending?: () => void;
}

/**
 * Asks the endpoints in turn, round after round, until one admits this machine or `timeoutMs` is over.
 * @throws what the cluster refuses with (TICKET_INVALID, TICKET_USED, TICKET_EXPIRED, DUPLICATE_NODE,
 * PERMISSION_DENIED, WRONG_CLUSTER), JOIN_PENDING when no operator came, or the last error of the way there
 */
export async function requestJoin(
  deps: JoinDeps,
  target: JoinTarget,
  joiner: Omit<RequestOf<"join.request">, "ticket">,
  options: RequestJoinOptions,
): Promise<JoinSeed> {
  const { clock, random } = deps;
  let endMs = clock.monotonicMs() + options.timeoutMs;
  let pending = false;
  const requestId = randomRequestId(random);
  let backoffMs = backoffMsMin;
  let last: unknown = new BlixardError("UNREACHABLE", "no node to ask is known");
  const endpoints = [...target.endpoints];
  while (endpoints.length > 0) {
    for (const endpoint of endpoints) {
      const timeoutMs = Math.min(attemptTimeoutMs, endMs - clock.monotonicMs());
      if (timeoutMs < 1) throw toBlixardError(last, "UNREACHABLE", "joining the cluster");
      try {
        return await askOnce(deps, endpoint, target, joiner, { ...options, timeoutMs, requestId });
      } catch (error) {
        last = error;
        if (!mayPass(error)) throw error;
        // Whoever has a ticket asks the nodes that it names, and shows it to nobody else.
        if (target.ticket === null) addNamed(endpoints, error);
        if (errorCodeOf(error) !== "JOIN_PENDING") continue;
        backoffMs = pendingPollMs;
        if (pending) break;
        pending = true;
        endMs = clock.monotonicMs() + pendingTimeoutMs;
        options.onPending?.();
        break;
      }
    }
    await sleep(clock, Math.min(backoffMs, Math.max(0, endMs - clock.monotonicMs())), options.signal);
    if (!pending) backoffMs = Math.min(2 * backoffMs, backoffMsMax);
  }
  throw last;
}

const endpointsMax = 32;

/** A node that admits nobody names those that do. */
function addNamed(endpoints: ClusterEndpoint[], error: unknown): void {
  if (!isBlixardError(error) || error.code !== "MISDIRECTED") return;
  const { data = [] } = nodePlacesSchema.safeParse(error.details?.["voters"]);
  const isNew = ({ endpointId }: ClusterEndpoint) => !endpoints.some((known) => known.endpointId === endpointId);
  endpoints.push(...data.filter(isNew).slice(0, endpointsMax - endpoints.length));
}

function mayPass(error: unknown): boolean {
  const code = errorCodeOf(error);
  return code !== undefined && code !== "CANCELLED" && errorCodes[code].retryable;
}

async function askOnce(
  deps: JoinDeps,
  endpoint: ClusterEndpoint,
  target: JoinTarget,
  joiner: Omit<RequestOf<"join.request">, "ticket">,
  options: RequestJoinOptions & { readonly requestId: string },
): Promise<JoinSeed> {
  const { timeoutMs, requestId, signal } = options;
  const request = { ...joiner, ticket: target.ticket?.(endpoint.endpointId) ?? null };
  // Actor and access are what the other side makes of the key of this connection.
  const actor = { kind: "node", id: request.endpointId } as const;
  const meta = { requestId, actor, access: "anyone", timeoutMs, stale: false, hops: 0 } as const;
  const call = deps.transport.call.bind(deps.transport);
  const answer = await callPeer({ clock: deps.clock, call }, endpoint, "join.request", request, { meta, signal });
  if (target.clusterId !== undefined && answer.clusterId !== target.clusterId) {
    throw new BlixardError("WRONG_CLUSTER", `the ticket is for cluster ${target.clusterId}`, {
      hint: `The node that answered is of cluster ${answer.clusterId}. Check the ticket.`,
    });
  }
  return { ...answer, nodeId: request.nodeId };
}
