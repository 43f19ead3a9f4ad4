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
  /** What proves to the node that is asked that this machine is of its host and user; asked for anew for each attempt. */
  readonly localProof?: (asked: ClusterEndpoint) => Promise<string | undefined>;
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
  /** Called when a node is asked for the first time, and when the reason changes why it did not let this one in. */
  readonly onAttempt?: (attempt: JoinAttempt) => void;
}

/** A node that is asked, and how that failed; undefined before the first answer. */
export interface JoinAttempt {
  readonly endpoint: ClusterEndpoint;
  readonly error: BlixardError | undefined;
}

/**
 * Asks the endpoints in turn, round after round, until one admits this machine or `timeoutMs` is over.
 * @throws what the cluster refuses with (TICKET_INVALID, TICKET_USED, TICKET_EXPIRED, DUPLICATE_NODE,
 * PERMISSION_DENIED, WRONG_CLUSTER), JOIN_PENDING when no operator came, or the last error of the way there, with what each
 * node failed with
 */
export async function requestJoin(
  deps: JoinDeps,
  target: JoinTarget,
  joiner: Omit<RequestOf<"join.request">, "ticket">,
  options: RequestJoinOptions,
): Promise<JoinSeed> {
  const { clock, random } = deps;
  const attempts = new Attempts(options.onAttempt);
  let endMs = clock.monotonicMs() + options.timeoutMs;
  let pending = false;
  const requestId = randomRequestId(random);
  let backoffMs = backoffMsMin;
  const endpoints = [...target.endpoints];
  while (endpoints.length > 0) {
    for (const endpoint of endpoints) {
      const timeoutMs = Math.floor(Math.min(attemptTimeoutMs, endMs - clock.monotonicMs()));
      if (timeoutMs < 1) throw attempts.failure();
      attempts.begin(endpoint);
      try {
        return await askOnce(deps, endpoint, target, joiner, { ...options, timeoutMs, requestId });
      } catch (error) {
        if (!mayPass(error)) throw error;
        // Whoever has a ticket asks the nodes that it names, and shows it to nobody else.
        if (target.ticket === null) addNamed(endpoints, error);
        attempts.failed(endpoint, error, timeoutMs < attemptTimeoutMs);
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
  throw attempts.failure();
}

/** What came of each node that was asked. */
class Attempts {
  readonly #tell: (attempt: JoinAttempt) => void;
  readonly #errors = new Map<ClusterEndpoint, BlixardError | undefined>();
  #last: BlixardError | undefined;

  constructor(tell: (attempt: JoinAttempt) => void = () => {}) {
    this.#tell = tell;
  }

  begin(endpoint: ClusterEndpoint): void {
    if (this.#errors.has(endpoint)) return;
    this.#errors.set(endpoint, undefined);
    this.#tell({ endpoint, error: undefined });
  }

  failed(endpoint: ClusterEndpoint, thrown: unknown, wasCutShort: boolean): void {
    const error = toBlixardError(thrown, "UNREACHABLE", "joining the cluster");
    const before = this.#errors.get(endpoint);
    // An attempt that had less time than the others says nothing about the node.
    if (wasCutShort && before !== undefined && error.code === "DEADLINE_EXCEEDED") return;
    this.#last = error;
    this.#errors.set(endpoint, error);
    if (before?.message !== error.message) this.#tell({ endpoint, error });
  }

  /** The last error, with a line for each node. */
  failure(): BlixardError {
    const last = this.#last;
    if (last === undefined) return new BlixardError("UNREACHABLE", "no node to ask is known");
    if (last.code === "JOIN_PENDING") return last;
    const lines = [...this.#errors].map(
      ([endpoint, error]) => `${describeEndpoint(endpoint)}: ${error?.message ?? "not asked to the end"}`,
    );
    const { code, hint, outcome, details } = last;
    const message = `no node let this machine in: ${lines.join("; ")}`;
    return new BlixardError(code, message, { hint, outcome, details, cause: last });
  }
}

/** The first digits of the key, and where it was looked for. */
export function describeEndpoint({ endpointId, addresses }: ClusterEndpoint): string {
  return `${endpointId.slice(0, 10)} at ${addresses.join(", ") || "an address that is found by its key"}`;
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
  const localProof = target.ticket === null ? await target.localProof?.(endpoint) : undefined;
  const request = {
    ...joiner,
    ticket: target.ticket?.(endpoint.endpointId) ?? null,
    ...(localProof === undefined ? {} : { localProof }),
  };
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
