/**
 * Stands in front of Raft and drops what a sender may not send. A key proves who speaks, nothing more: what the speaker
 * may do is read from the state and the log of this node, and never from the message.
 *
 *     record votes -----------------------------------------> voter
 *     a configuration in the log names it, applied or not --> voter
 *     the join answer named it, while the state is older ---> voter
 *     a majority of the voters known here vouch for it -----> voter
 *     record is that of a banned key -----------------------> banned, whatever else names it
 *     all others -------------------------------------------> what the record says, removed, or unknown
 */
import type { Clock, Counter, Logger } from "@blixard/common";
import type { MemberRole, NodeRecord } from "@blixard/protocol";
import type { ConfChange, PeerMessage, PeerTransport, RaftNodeStatus } from "@blixard/raft";
import type { PeerCalls } from "../calls/peer-calls.ts";
import type { ClusterStateMachine } from "../cluster-state-machine.ts";
import type { ClusterTransport } from "../ports/cluster-transport.ts";
import type { JoinSeed } from "../start/join-flow.ts";
import { nodeKey } from "../state-machine/state.ts";
import type { MemberBudgets } from "./member-budgets.ts";
import { type PeerMessageType, raftAccess, type SenderRole } from "./raft-access.ts";
import { votes } from "./reachability.ts";
import { VoterVouchers } from "./voter-vouchers.ts";

/** What the gate reads of Raft. */
export interface RaftGateView {
  readonly status: Pick<RaftNodeStatus, "term" | "leaderId" | "appliedIndex" | "confState">;
  /** See `RaftNode.unappliedChanges`. */
  readonly unappliedChanges: () => readonly ConfChange[];
}

export interface RaftGateDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly refused: Counter;
  readonly budgets: Pick<MemberBudgets, "admitsRead" | "admitsSnapshotBytes">;
  readonly stateMachine: Pick<ClusterStateMachine, "state" | "version">;
  readonly transport: Pick<ClusterTransport, "sessions" | "slow">;
  readonly peerCalls: Pick<PeerCalls, "ask">;
  readonly raft: () => RaftGateView;
  readonly nodeId: number;
  /** What the cluster said when it admitted this node. */
  readonly seed: (Pick<JoinSeed, "incarnation" | "admission"> & Partial<Pick<JoinSeed, "nodes">>) | undefined;
}

/** Refused messages are counted one by one, and logged so seldom. */
const logIntervalMs = 10_000;

export class RaftGate {
  readonly #deps: RaftGateDeps;
  readonly #seedVoters: ReadonlySet<number>;
  readonly #vouchers: VoterVouchers;
  #loggedAtMs = Number.NEGATIVE_INFINITY;
  #notLogged = 0;

  constructor(deps: RaftGateDeps) {
    this.#deps = deps;
    this.#seedVoters = new Set(idsOfVoters(deps.seed?.nodes ?? []));
    this.#vouchers = new VoterVouchers({
      ...deps,
      appliedIndex: () => deps.raft().status.appliedIndex,
      electorates: () => this.#electorates(),
    });
  }

  /** The same transport, without the messages that are refused, and without what is more than a member may take. */
  guard(peers: PeerTransport): PeerTransport {
    const { budgets } = this.#deps;
    return {
      send: (to, message) =>
        (message.type !== "snapshotChunk" || budgets.admitsSnapshotBytes(to, message.data.length, message.sizeBytes)) &&
        peers.send(to, message),
      bind: ({ onMessage, onUnreachable }) =>
        peers.bind({
          onMessage: (from, message) => {
            if (this.admits(from, message) && this.#affords(from, message)) onMessage(from, message);
          },
          onUnreachable,
        }),
    };
  }

  /** Counts what it refuses. A sender that may be a voter is asked about, so that a later message can pass. */
  admits(from: number, envelope: PeerMessage): boolean {
    const type = typeOf(envelope);
    const role = this.#roleOf(from);
    if (raftAccess[type][role] && (isVoting(role) || !this.#raisesTerm(envelope))) return true;
    if (isDoubtful(role) && raftAccess[type].voter && (this.#isNamedVoter(from) || this.#isVouched(from, role))) {
      return true;
    }
    this.#refuse(from, type, role);
    return false;
  }

  /** Whether the state, the log or the join answer of this node says that the node votes. */
  isVoter(nodeId: number): boolean {
    const role = this.#roleOf(nodeId);
    return isVoting(role) || (isDoubtful(role) && this.#isNamedVoter(nodeId));
  }

  /** Gives up the questions that are under way. */
  close(): void {
    this.#vouchers.close();
  }

  /** A read that is not answered is asked for again by itself. */
  #affords(from: number, envelope: PeerMessage): boolean {
    return typeOf(envelope) !== "MsgReadIndex" || this.#deps.budgets.admitsRead(from);
  }

  #roleOf(nodeId: number): SenderRole {
    const { nodes, removed, banned } = this.#deps.stateMachine.state;
    const record = nodes.get(nodeKey(nodeId));
    if (record !== undefined) return banned.has(record.endpointId) ? "banned" : record.role;
    const before = removed.get(nodeKey(nodeId));
    const key = this.#keyOf(nodeId);
    if (key !== undefined && banned.has(key)) return "banned";
    if (before === undefined) return "unknown";
    // The id may belong to another machine by now, which this node has not heard of yet.
    return key === undefined || key === before.endpointId ? "removed" : "unknown";
  }

  #keyOf(nodeId: number): string | undefined {
    return this.#deps.transport.sessions().find((session) => session.nodeId === nodeId)?.endpointId;
  }

  /** The members that do not vote only follow: a term that is new here is no news that they bring. */
  #raisesTerm(envelope: PeerMessage): boolean {
    return envelope.type === "raft" && envelope.message.term > this.#deps.raft().status.term;
  }

  #isNamedVoter(nodeId: number): boolean {
    return this.#logNames(nodeId) || (this.#seedVoters.has(nodeId) && this.#isOlderThanSeed());
  }

  /**
   * A configuration names ids, and an id that was taken out may come back as another machine. So a change that stands
   * unapplied speaks for a node that the state knows only while the configuration has held on to it.
   */
  #logNames(nodeId: number): boolean {
    const { status, unappliedChanges } = this.#deps.raft();
    const { voters, votersOutgoing, learners, learnersNext } = status.confState;
    const isIn = (ids: readonly number[]) => ids.includes(nodeId);
    if (isIn(voters) || isIn(votersOutgoing)) return true;
    const ops = unappliedChanges().flatMap(({ changes }) => changes.filter(({ id }) => id === nodeId));
    if (!ops.some(({ op }) => op === "addVoter") || ops.some(({ op }) => op === "remove")) return false;
    const { nodes } = this.#deps.stateMachine.state;
    return !nodes.has(nodeKey(nodeId)) || isIn(learners) || isIn(learnersNext);
  }

  #isVouched(nodeId: number, role: SenderRole): boolean {
    if (role === "removed") return false;
    const key = this.#keyOf(nodeId) ?? this.#deps.stateMachine.state.nodes.get(nodeKey(nodeId))?.endpointId;
    return key !== undefined && this.#vouchers.vouchFor(nodeId, key);
  }

  /** Those of whom a majority has to vouch: the halves of the applied configuration, or who voted at the admission. */
  #electorates(): readonly (readonly number[])[] {
    if (this.#isOlderThanSeed()) return [[...this.#seedVoters]];
    const { voters, votersOutgoing } = this.#deps.raft().status.confState;
    return votersOutgoing.length === 0 ? [voters] : [voters, votersOutgoing];
  }

  /** While the log is replayed, the state here is that of a time at which others may have voted. */
  #isOlderThanSeed(): boolean {
    const { seed, stateMachine, nodeId, raft } = this.#deps;
    if (seed?.nodes === undefined) return false;
    const { nodes, removed } = stateMachine.state;
    const own = nodes.get(nodeKey(nodeId)) ?? removed.get(nodeKey(nodeId));
    if (own === undefined || own.incarnation < seed.incarnation) return true;
    return raft().status.appliedIndex < (seed.admission?.index ?? 0);
  }

  #refuse(from: number, type: PeerMessageType, role: SenderRole): void {
    const { clock, logger, refused, raft, transport } = this.#deps;
    refused.add(1, { type, role });
    if (!isVoting(role) && role !== "unknown") transport.slow?.(from);
    this.#notLogged++;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#loggedAtMs < logIntervalMs) return;
    const stranded = raft().status.leaderId === 0 && raftAccess[type].voter;
    logger.log("warn", "a Raft message was refused: its sender may not send it", {
      ...{ from, type, role, count: this.#notLogged },
      ...(stranded ? { hint: strandedHint } : {}),
    });
    this.#loggedAtMs = nowMs;
    this.#notLogged = 0;
  }
}

const strandedHint =
  "This node hears no leader. If the voters changed while it was away and too few of those that it knew are left, " +
  "let it rejoin with a ticket and an empty data directory.";

function typeOf(envelope: PeerMessage): PeerMessageType {
  return envelope.type === "raft" ? envelope.message.type : envelope.type;
}

function isVoting(role: SenderRole): boolean {
  return votes({ role: role as MemberRole });
}

/** Whether others may know more of the sender than the state here. A ban is the last word. */
function isDoubtful(role: SenderRole): boolean {
  return !isVoting(role) && role !== "banned";
}

function idsOfVoters(nodes: readonly NodeRecord[]): number[] {
  return nodes.filter(votes).map(({ id }) => id);
}
