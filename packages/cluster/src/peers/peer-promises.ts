/**
 * What this node knows of the promises of the others, so that one which forgot its own is found out when it starts: a
 * Raft node that votes or acknowledges after its store went back to an older state can lose committed entries.
 *
 * Three sources, from the most lasting to the most exact: the node record (incarnation, store, number of starts), the
 * sessions (which process runs now), and in memory the highest acknowledgement and the term of the newest vote.
 */
import type { ParsedRequestOf, ResponseOf } from "@blixard/protocol";
import type { Message, PeerMessage, PeerTransport } from "@blixard/raft";
import type { ClusterMetrics } from "../metrics.ts";
import type { ClusterTransport } from "../ports/cluster-transport.ts";
import { nodeKey } from "../state-machine/state.ts";
import type { ClusterState } from "../state-machine/types.ts";

export type VerifyRequest = ParsedRequestOf<"node.verify">;
export type VerifyAnswer = ResponseOf<"node.verify">;

/** A session that was heard within this time belongs to a process that runs: two heartbeats of the transport. */
const runningWithinMs = 600;

/** True when a process with the key of `nodeId` is connected that is not `instance`. */
export function isRunningElsewhere(
  transport: Pick<ClusterTransport, "sessions">,
  nodeId: number,
  instance: number | undefined,
): boolean {
  const session = transport.sessions().find((candidate) => candidate.nodeId === nodeId);
  if (session?.instance === undefined || session.instance === null || instance === undefined) return false;
  return session.instance !== instance && (session.lastContactMs ?? runningWithinMs) < runningWithinMs;
}

/** Where this node stands in Raft. */
export interface RaftPosition {
  readonly commitIndex: number;
  readonly role: string;
}

/** The position of a node that does not run Raft yet. */
export const notRunningRaft: RaftPosition = { commitIndex: 0, role: "" };

interface Promised {
  readonly incarnation: number;
  /** The highest index that the node said to have on its disk. */
  ackedIndex: number;
  /** The highest term that the node had on its disk when it answered. */
  term: number;
}

export class PeerPromises {
  readonly #state: () => ClusterState;
  readonly #transport: Pick<ClusterTransport, "sessions">;
  readonly #checks: ClusterMetrics["startChecks"];
  readonly #promised = new Map<number, Promised>();

  /** The voters that have refused the store of this node at its start: it says so to those that they refuse too. */
  refusedBy: readonly number[] = [];

  /** `checks` counts the verdicts. */
  constructor(
    state: () => ClusterState,
    transport: Pick<ClusterTransport, "sessions">,
    checks: ClusterMetrics["startChecks"],
  ) {
    this.#state = state;
    this.#transport = transport;
    this.#checks = checks;
  }

  /** The same transport, whose incoming messages are remembered. */
  listen(peers: PeerTransport): PeerTransport {
    return {
      send: (to, message) => peers.send(to, message),
      bind: ({ onMessage, onUnreachable }) =>
        peers.bind({
          onMessage: (from, message) => {
            this.#remember(from, message);
            onMessage(from, message);
          },
          onUnreachable,
        }),
    };
  }

  #remember(from: number, envelope: PeerMessage): void {
    if (envelope.type !== "raft") return;
    const { message } = envelope;
    if (message.from !== from || !showsTerm(message)) return;
    const incarnation = this.#state().nodes.get(nodeKey(from))?.incarnation;
    if (incarnation === undefined) return;
    let promised = this.#promised.get(from);
    if (promised?.incarnation !== incarnation) {
      promised = { incarnation, ackedIndex: 0, term: 0 };
      this.#promised.set(from, promised);
    }
    promised.term = Math.max(promised.term, message.term);
    if (message.type === "MsgAppResp") promised.ackedIndex = Math.max(promised.ackedIndex, message.index);
  }

  /** Whether the store of a node that starts holds what the node has promised, as far as this node knows. */
  verify(request: VerifyRequest, raft: RaftPosition): VerifyAnswer {
    const leader = raft.role === "StateLeader";
    const answer = (verdict: VerifyAnswer["verdict"], reason = ""): VerifyAnswer => {
      this.#checks.add(1, { verdict });
      return { verdict, reason, leader };
    };
    const { nodeId, incarnation, instance } = request;
    const record = this.#state().nodes.get(nodeKey(nodeId));
    // This node may be behind itself: of a later incarnation it knows nothing.
    if (record === undefined || record.incarnation < incarnation) return answer("fits");
    if (record.incarnation > incarnation) {
      return answer("behind", `it is of incarnation ${incarnation}, and ${record.incarnation} was admitted since`);
    }
    if (isRunningElsewhere(this.#transport, nodeId, instance)) {
      return answer("running", "a process with the same key is connected");
    }
    if (record.storeId !== undefined && record.storeId !== request.storeId) {
      return answer("other", "the cluster knows this node with another store");
    }
    if (record.starts !== undefined && request.starts <= record.starts) {
      return answer("behind", `it says that this is start ${request.starts}, and start ${record.starts} was seen`);
    }
    const broken = this.#brokenPromise(request, raft.commitIndex);
    return broken === undefined ? answer("fits") : answer("behind", broken);
  }

  #brokenPromise({ nodeId, incarnation, term, lastIndex }: VerifyRequest, commitIndex: number): string | undefined {
    const promised = this.#promised.get(nodeId);
    if (promised?.incarnation !== incarnation) return undefined;
    // What was acknowledged but not committed may have been replaced since; what is committed stays for ever.
    const needed = Math.min(promised.ackedIndex, commitIndex);
    if (lastIndex < needed) return `its log ends at ${lastIndex}, and it had acknowledged ${needed}`;
    if (term < promised.term) return `it is in term ${term}, and it had voted or acknowledged in ${promised.term}`;
    return undefined;
  }
}

/**
 * True for what a node sends only when the term of the message is on its disk: answers that wait for the disk, and what
 * comes from a leader, which asked for its votes after it had stored its own.
 */
function showsTerm({ type, reject }: Message): boolean {
  if (type === "MsgAppResp" || type === "MsgVoteResp") return !reject;
  return type === "MsgApp" || type === "MsgHeartbeat";
}
