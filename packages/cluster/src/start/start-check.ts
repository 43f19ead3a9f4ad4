/**
 * What a node asks the others before it takes part: whether its store still holds what it promised them. Those that
 * do not answer in time are not waited for, because a cluster that starts as a whole has nobody who could answer more.
 */
import {
  assertAtMost,
  BlixardError,
  type Clock,
  errorCodeOf,
  type Logger,
  linkSignal,
  messageOf,
  pauseFor,
} from "@blixard/common";
import type { NodeRecord } from "@blixard/protocol";
import type { PeerCalls } from "../calls/peer-calls.ts";
import type { VerifyAnswer, VerifyRequest } from "../peers/peer-promises.ts";
import { votes } from "../peers/reachability.ts";
import { nodeKey } from "../state-machine/state.ts";
import type { ClusterState } from "../state-machine/types.ts";
import type { JoinSeed } from "./join-flow.ts";

export interface StartCheckDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly peerCalls: PeerCalls;
}

/** The nodes that the state knows, and those that only the seed knows. */
export function knownNodes(state: ClusterState, seed: Partial<Pick<JoinSeed, "nodes">> | undefined): NodeRecord[] {
  return [...state.nodes.values(), ...(seed?.nodes ?? []).filter(({ id }) => !state.nodes.has(nodeKey(id)))];
}

/** Time in which the others may answer. */
const answerTimeoutMs = 2_000;
const attemptTimeoutMs = 1_000;
const retryMs = 100;
assertAtMost({ attemptTimeoutMs }, { answerTimeoutMs }, "an attempt is a part of the wait");
/** A process that was killed just now looks alive for a moment. */
const runningPatienceMs = 6_000;

/**
 * Only those are asked that vote: what others say ends nobody.
 * @throws STORAGE_CORRUPT when this store went backwards, DUPLICATE_NODE when the node runs already, REMOVED
 */
export async function checkWithPeers(
  deps: StartCheckDeps,
  nodes: readonly NodeRecord[],
  request: VerifyRequest,
  outer: AbortSignal | undefined,
): Promise<void> {
  const others = nodes.filter((node) => node.id !== request.nodeId && votes(node));
  if (others.length === 0) return;
  const link = linkSignal(outer);
  let leaderAnswered: () => void = () => {};
  const leader = new Promise<void>((resolve) => {
    leaderAnswered = resolve;
  });
  const refusals: BlixardError[] = [];
  const asked = others.map(async (node) => {
    try {
      const answer = await askUntilAnswered(deps, node, request, link.signal);
      if (answer?.leader) leaderAnswered();
    } catch (error) {
      refusals.push(error as BlixardError);
      leaderAnswered();
    }
  });
  try {
    await Promise.race([Promise.all(asked), leader]);
  } finally {
    link.abort();
    await Promise.all(asked);
    link.release();
  }
  const [refusal] = refusals;
  if (refusal !== undefined) throw refusal;
}

/** Resolves with undefined when there is no answer in time. */
async function askUntilAnswered(
  deps: StartCheckDeps,
  node: NodeRecord,
  request: VerifyRequest,
  signal: AbortSignal,
): Promise<VerifyAnswer | undefined> {
  const { clock } = deps;
  const startMs = clock.monotonicMs();
  let patienceMs = answerTimeoutMs;
  while (!signal.aborted && clock.monotonicMs() - startMs < patienceMs) {
    try {
      const { endpointId, addresses } = node;
      const limits = { timeoutMs: attemptTimeoutMs, signal };
      const answer = await deps.peerCalls.ask({ endpointId, addresses }, "node.verify", request, limits);
      if (answer.verdict === "fits") return answer;
      const lateMs = clock.monotonicMs() - startMs;
      if (answer.verdict !== "running" || lateMs + retryMs >= runningPatienceMs) throw refusalOf(node, request, answer);
      patienceMs = runningPatienceMs;
    } catch (error) {
      if (isFinal(error)) throw error;
      deps.logger.log("debug", "a node could not be asked about this store", {
        peer: node.id,
        error: messageOf(error),
      });
    }
    await pauseFor(clock, retryMs, signal);
  }
  return undefined;
}

function isFinal(error: unknown): boolean {
  return ["STORAGE_CORRUPT", "DUPLICATE_NODE", "REMOVED"].includes(errorCodeOf(error) ?? "");
}

function refusalOf(node: NodeRecord, { nodeId }: VerifyRequest, { verdict, reason }: VerifyAnswer): BlixardError {
  if (verdict === "running") {
    return new BlixardError("DUPLICATE_NODE", `node ${nodeId} runs already: node ${node.id} says that ${reason}`, {
      hint: "Stop the other process. Two of them never share a data directory, a copy of one, or a node.key.",
    });
  }
  return new BlixardError(
    "STORAGE_CORRUPT",
    `this store is older than what node ${nodeId} has promised: node ${node.id} says that ${reason}`,
    { hint: "It was restored from a copy, or replaced. Let the node come back as a learner: blixard recover" },
  );
}
