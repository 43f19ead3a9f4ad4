/**
 * What a node asks the others before it takes part: whether its store still holds what it promised them. Those that
 * do not answer in time are not waited for, because a cluster that starts as a whole has nobody who could answer more. A
 * node that some refuse is held back, and asks on: it has no Raft yet, so it neither votes, campaigns nor acknowledges.
 */
import {
  assertAtMost,
  BlixardError,
  type Clock,
  errorCodeOf,
  isBlixardError,
  type Logger,
  linkSignal,
  messageOf,
  pauseFor,
} from "@blixard/common";
import { type NodeRecord, understoodLevel } from "@blixard/protocol";
import type { PeerCalls } from "../calls/peer-calls.ts";
import { withNewestKey } from "../peers/peer-list.ts";
import type { VerifyAnswer, VerifyRequest } from "../peers/peer-promises.ts";
import { votes } from "../peers/reachability.ts";
import { nodeKey } from "../state-machine/state.ts";
import type { ClusterState } from "../state-machine/types.ts";
import type { JoinSeed } from "./join-flow.ts";
import { type LastEntry, type StartDecision, StartWords, type Word } from "./start-words.ts";

export interface StartCheckDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly peerCalls: Pick<PeerCalls, "ask">;
  /** Told why the node is held back, whenever that changes. */
  readonly onHeldBack: (reason: string) => void;
  /** Told which voters refuse the store of this node, whenever they have been asked. */
  readonly onRefused: (by: readonly number[]) => void;
}

/** The nodes that the state knows, and those that only the seed knows. */
export function knownNodes(state: ClusterState, seed: Partial<Pick<JoinSeed, "nodes">> | undefined): NodeRecord[] {
  const seedNodes = seed?.nodes ?? [];
  const known = [...state.nodes.values()].map((node) => withNewestKey(node, seedNodes));
  return [...known, ...seedNodes.filter(({ id }) => !state.nodes.has(nodeKey(id)))];
}

/** Time in which the others may answer. */
const answerTimeoutMs = 2_000;
const attemptTimeoutMs = 1_000;
const retryMs = 100;
assertAtMost({ attemptTimeoutMs }, { answerTimeoutMs }, "an attempt is a part of the wait");
/** A process that was killed just now looks alive for a moment. */
const runningPatienceMs = 6_000;
/** A node that is held back asks on less and less often, and does not give up. */
const askAgainMsMin = 500;
const askAgainMsMax = 5_000;
/** Says again that it waits. */
const remindMs = 60_000;
/** The level from which on members say whether a leader has confirmed their state. */
const confirmLevel = 3;

/**
 * Only those are asked that vote: what others say counts for nothing. Resolves when this node may take part.
 * @throws when a majority of them refuse: STORAGE_CORRUPT when this store went backwards, DUPLICATE_NODE when the node
 * runs already, REMOVED; and the reason of `signal` while it is held back
 */
export async function checkWithPeers(
  deps: StartCheckDeps,
  nodes: readonly NodeRecord[],
  request: VerifyRequest,
  lastEntry: LastEntry,
  signal: AbortSignal,
): Promise<void> {
  const others = nodes.filter((node) => node.id !== request.nodeId && votes(node));
  if (others.length === 0) return;
  const words = new StartWords(
    others.map(({ id }) => id),
    lastEntry,
  );
  await askAtStart(deps, others, request, words, signal);
  const decision = words.decide();
  if (decision.type === "end") throw decision.error;
  if (decision.type === "heldBack") await askOn(deps, others, request, words, signal);
}

async function askAtStart(
  deps: StartCheckDeps,
  others: readonly NodeRecord[],
  request: VerifyRequest,
  words: StartWords,
  outer: AbortSignal,
): Promise<void> {
  const link = linkSignal(outer);
  let enough: () => void = () => {};
  const isEnough = new Promise<void>((resolve) => {
    enough = resolve;
  });
  const asked = others.map(async (node) => {
    const answer = await askUntilAnswered(deps, node, request, link.signal);
    if (answer === undefined) return;
    words.hear(node.id, answer.word);
    const decision = words.decide().type;
    // The leader knows all that was committed, and nobody is waited for any more when enough refuse.
    if (decision === "end" || (decision === "goOn" && answer.leads)) enough();
  });
  try {
    await Promise.race([Promise.all(asked), isEnough]);
  } finally {
    link.abort();
    await Promise.all(asked);
    link.release();
  }
}

/** Goes on asking until the others have decided. */
async function askOn(
  deps: StartCheckDeps,
  others: readonly NodeRecord[],
  request: VerifyRequest,
  words: StartWords,
  signal: AbortSignal,
): Promise<void> {
  const { clock, logger, onHeldBack, onRefused } = deps;
  let said = "";
  let saidAtMs = clock.monotonicMs();
  for (let pauseMs = askAgainMsMin; ; pauseMs = Math.min(2 * pauseMs, askAgainMsMax)) {
    // Whoever is refused as well has to know, also when this node goes on.
    onRefused(words.refusedBy());
    const decision = words.decide();
    if (decision.type === "end") throw decision.error;
    if (decision.type === "goOn") break;
    const reason = reasonOf(decision);
    if (reason !== said || clock.monotonicMs() - saidAtMs >= remindMs) {
      logger.log("warn", reason, { waitingFor: decision.waitingFor, hint: heldBackHint });
      saidAtMs = clock.monotonicMs();
    }
    if (reason !== said) onHeldBack(reason);
    said = reason;
    await pauseFor(clock, pauseMs, signal);
    if (signal.aborted) throw signal.reason;
    await Promise.all(
      others.map(async (node) => {
        const answer = await askOnce(deps, node, request, signal);
        if (answer !== undefined) words.hear(node.id, wordOf(node, request, answer));
      }),
    );
    if (signal.aborted) throw signal.reason;
  }
  logger.log("warn", "enough of the other voters say that the store of this node fits: it takes part again");
}

const heldBackHint =
  "This node neither votes nor serves until a majority of the other voters say that its store fits. Start those that " +
  "are down. If the store was restored from a copy, stop the node and let it come back as a learner: blixard recover";

function reasonOf({ by, waitingFor }: Extract<StartDecision, { readonly type: "heldBack" }>): string {
  const refusals = [...by].map(([id, { message }]) => `voter ${id}: ${message}`);
  const why = refusals.length === 0 ? "a voter has said that this store forgot something" : refusals.join("; ");
  return `held back by ${why}; asking ${waitingFor.map((id) => `voter ${id}`).join(", ")}`;
}

interface Answer {
  readonly word: Word;
  /** It comes from a leader that nobody has replaced, as far as its release says so. */
  readonly leads: boolean;
}

/** Resolves with undefined when there is no answer in time. */
async function askUntilAnswered(
  deps: StartCheckDeps,
  node: NodeRecord,
  request: VerifyRequest,
  signal: AbortSignal,
): Promise<Answer | undefined> {
  const { clock } = deps;
  const startMs = clock.monotonicMs();
  let patienceMs = answerTimeoutMs;
  while (!signal.aborted && clock.monotonicMs() - startMs < patienceMs) {
    const answer = await askOnce(deps, node, request, signal);
    if (answer !== undefined) {
      const word = wordOf(node, request, answer);
      const isRunning = word.type === "refuses" && word.kind === "running";
      const isLate = clock.monotonicMs() - startMs + retryMs >= runningPatienceMs;
      if (!isRunning || isLate) return { word, leads: !isBlixardError(answer) && answer.leader && isCurrent(answer) };
      patienceMs = runningPatienceMs;
    }
    await pauseFor(clock, retryMs, signal);
  }
  return undefined;
}

/** The answer, or that this node was removed; undefined when there is none. Never rejects. */
async function askOnce(
  { peerCalls, logger }: StartCheckDeps,
  node: NodeRecord,
  request: VerifyRequest,
  signal: AbortSignal,
): Promise<VerifyAnswer | BlixardError | undefined> {
  const { endpointId, addresses, featureLevel } = node;
  const confirm = understoodLevel(featureLevel) < confirmLevel ? {} : { confirm: true as const };
  const limits = { timeoutMs: attemptTimeoutMs, signal };
  try {
    return await peerCalls.ask({ endpointId, addresses }, "node.verify", { ...request, ...confirm }, limits);
  } catch (error) {
    if (isBlixardError(error) && errorCodeOf(error) === "REMOVED") return error;
    const cause = { peer: node.id, error: messageOf(error) };
    logger.log("debug", "a node could not be asked about this store", cause);
    return undefined;
  }
}

/** A member of an earlier release says only whether it leads. */
function isCurrent({ current, leader }: VerifyAnswer): boolean {
  return current ?? leader;
}

function wordOf(node: NodeRecord, { nodeId }: VerifyRequest, answer: VerifyAnswer | BlixardError): Word {
  if (isBlixardError(answer)) return { type: "refuses", kind: "removed", error: answer };
  const { verdict, reason, lastEntry, refusedBy } = answer;
  switch (verdict) {
    case "fits":
      return { type: "fits", isCurrent: isCurrent(answer), lastEntry, refusedBy };
    case "running": {
      const error = new BlixardError(
        "DUPLICATE_NODE",
        `node ${nodeId} runs already: node ${node.id} says that ${reason}`,
        { hint: "Stop the other process. Two of them never share a data directory, a copy of one, or a node.key." },
      );
      return { type: "refuses", kind: verdict, error, lastEntry };
    }
    case "behind":
    case "other": {
      const error = new BlixardError(
        "STORAGE_CORRUPT",
        `this store is older than what node ${nodeId} has promised: node ${node.id} says that ${reason}`,
        { hint: "It was restored from a copy, or replaced. Let the node come back as a learner: blixard recover" },
      );
      return { type: "refuses", kind: verdict, error, lastEntry };
    }
    default:
      return verdict satisfies never;
  }
}
