/**
 * Hands each proposal to the core, or to the leader, whether a caller of this node or another node made it.
 * {@link ProposalTable} remembers its place in the log and settles its outcome.
 */
import { assert, type BlixardError, errorCodeOf, notApplied, type Random } from "@blixard/common";
import type { RaftEvent } from "../core/events.ts";
import type { RaftCore } from "../core/raft-core.ts";
import {
  asLogIndex,
  type ConfChange,
  type ConfState,
  type LogIndex,
  type NodeId,
  noNode,
  type Term,
} from "../core/types.ts";
import { isMember } from "../membership/configuration.ts";
import { quorumRisk } from "../membership/quorum-risk.ts";
import type { PeerTransport, ProposalVerdict } from "../ports.ts";
import { type ForwardedProposal, ProposalDeduplicator } from "./forwarding/proposal-deduplicator.ts";
import { type ProposalAnswer, ProposalForwarder } from "./forwarding/proposal-forwarder.ts";
import { changeRefused, dropped, notLeader, outcomeUnknown, overloaded, refusalOf } from "./proposal-errors.ts";
import type { Proposal, ProposalTable } from "./proposal-table.ts";

export interface ProposalRouterDeps<Result> {
  readonly id: NodeId;
  readonly core: RaftCore;
  readonly proposals: ProposalTable<Result>;
  readonly transport: PeerTransport;
  readonly random: Random;
  readonly nowMs: () => number;
  /** The newest configuration in use. */
  readonly confState: () => ConfState;
  /** Whether that voter was heard from within an election timeout. */
  readonly isActive: (id: NodeId) => boolean;
  /** Whether the log must not grow now. */
  readonly logIsFull: () => boolean;
  /** Whether the log is being written, so that what is appended now waits for another write. */
  readonly logIsBusy: () => boolean;
  readonly onForwarded: (direction: "sent" | "received") => void;
}

export interface ProposalRouterOptions {
  readonly forward: boolean;
  readonly forwardRetryMs: number;
  readonly forwardTriesMax: number;
  readonly electionTimeoutMs: number;
  /** Bytes of proposals that go into one append. */
  readonly appendMessageBytesMax: number;
  /** The term in which this run of the node started. In later terms it remembers every proposal that it took. */
  readonly startTerm: Term;
}

export class ProposalRouter<Result> {
  readonly #deps: ProposalRouterDeps<Result>;
  readonly #options: ProposalRouterOptions;
  readonly #forwarder: ProposalForwarder<Result>;
  readonly #deduplicator = new ProposalDeduplicator();
  /** Why the core refused the proposal that is being handed to it. */
  #refusal: string | undefined;
  /** Remembers when the leadership ended, here or on another node, under which open proposals were made. */
  #leaderLostAtMs: number | undefined;

  constructor(deps: ProposalRouterDeps<Result>, options: ProposalRouterOptions) {
    this.#deps = deps;
    this.#options = options;
    const { forwardRetryMs: retryMs, forwardTriesMax: triesMax } = options;
    this.#forwarder = new ProposalForwarder(deps, { retryMs, triesMax });
  }

  /** The core emits its reason for a refusal during the call that it refuses. */
  noteEvent(event: RaftEvent): void {
    if (event.type === "proposalDropped" || event.type === "confChangeRefused") this.#refusal = event.reason;
  }

  /** Another node leads than before, or no leader is known. */
  leaderChanged(): void {
    this.#leaderLostAtMs = this.#deps.nowMs();
  }

  /** Called on every turn. A leader lets proposals gather while its log is being written: the next write takes them all. */
  routeWaiting(): void {
    const { id, core, proposals, onForwarded, logIsBusy } = this.#deps;
    if (!proposals.hasWaiting) return;
    if (logIsBusy() && this.#leads) return;
    const waiting = proposals.takeWaiting();
    if (waiting.length === 0) return;
    const { role, lead, term } = core.basicStatus();
    const forwards = this.#options.forward && role !== "StateLeader" && lead !== 0 && lead !== id;
    for (const proposal of waiting) {
      if (!forwards) break;
      this.#forwarder.send(proposal, lead, term);
      onForwarded("sent");
    }
    if (!forwards) this.#appendAll(waiting, term);
  }

  /** Proposals that follow each other go into one append, up to its limit of bytes. */
  #appendAll(waiting: readonly Proposal<Result>[], term: Term): void {
    const { core, proposals } = this.#deps;
    for (let from = 0, to = 0; from < waiting.length; from = to) {
      const data = payloadsFrom(waiting, from, this.#options.appendMessageBytesMax);
      to = from + Math.max(data.length, 1);
      const first = data.length > 1 ? this.#attempt(() => core.proposeAll(data)) : undefined;
      for (let at = from; at < to; at++) {
        const proposal = waiting[at] as Proposal<Result>;
        // When the quota refuses all of them together, some may still fit one by one.
        const place = typeof first === "number" ? first + at - from : this.#appendOne(proposal, proposal.force);
        if (typeof place === "number") proposals.place(proposal, asLogIndex(place), term);
        else proposals.fail(proposal, place);
      }
    }
  }

  /** Gives a payload to the core. Returns its index in the log, or why it is not there. */
  #appendOne(payload: Payload, force: boolean): LogIndex | BlixardError {
    const { core, confState, isActive } = this.#deps;
    if (payload.kind === "normal") return this.#attempt(() => core.propose(payload.data));
    const risk = force || !this.#leads ? undefined : quorumRisk(confState(), payload.change, isActive);
    return risk ?? this.#attempt(() => core.proposeConfChange(payload.change));
  }

  #attempt(propose: () => LogIndex | undefined): LogIndex | BlixardError {
    const { core, logIsFull } = this.#deps;
    this.#refusal = undefined;
    if (this.#leads && logIsFull()) return overloaded("the log waits for a snapshot of the state");
    try {
      const place = propose();
      if (this.#refusal !== undefined) return changeRefused(this.#refusal);
      assert(place !== undefined, "the core forwards no proposals: ProposalRouter does");
      return place;
    } catch (error) {
      if (errorCodeOf(error) !== "PROPOSAL_DROPPED") throw error;
      return dropped(this.#refusal, core.status());
    }
  }

  get #leads(): boolean {
    return this.#deps.core.basicStatus().role === "StateLeader";
  }

  /** Another node asks this one to append its proposal. */
  receiveProposal(from: NodeId, proposal: ForwardedProposal): void {
    const known = this.#deduplicator.find(from, proposal);
    if (known === "late") return;
    if (known !== "new") {
      this.#answer(from, proposal, known);
      return;
    }
    const { term, lead, role } = this.#deps.core.basicStatus();
    // An earlier run of this node may have taken a copy in that term, which this run does not remember.
    if (proposal.term > term || proposal.term <= this.#options.startTerm) return;
    if (!this.#options.forward) this.#conclude(from, proposal, refusalOf(notTaken("forwarded proposals"), lead));
    else if (proposal.term < term || role !== "StateLeader") {
      this.#conclude(from, proposal, refusalOf(notLeader(lead), lead));
    } else if (!isMember(this.#deps.confState(), from)) {
      this.#conclude(from, proposal, refusalOf(notTaken("proposals of nodes that are no members"), lead));
    } else this.#take(from, proposal);
  }

  #take(from: NodeId, proposal: ForwardedProposal): void {
    const { entry, force } = proposal;
    if (entry.kind === "normal" && entry.data.length === 0) return;
    this.#deps.onForwarded("received");
    const place = this.#appendOne(entry, force);
    const { term, lead } = this.#deps.core.basicStatus();
    const placed = typeof place === "number";
    this.#conclude(from, proposal, placed ? { type: "placed", index: place, term } : refusalOf(place, lead));
  }

  #conclude(from: NodeId, proposal: ForwardedProposal, verdict: ProposalVerdict): void {
    this.#deduplicator.record(from, proposal, verdict);
    this.#answer(from, proposal, verdict);
  }

  #answer(to: NodeId, { session, sequence }: ForwardedProposal, verdict: ProposalVerdict): void {
    this.#deps.transport.send(to, { type: "proposalAnswer", session, sequence, verdict });
  }

  receiveAnswer(from: NodeId, answer: ProposalAnswer): void {
    this.#forwarder.receiveAnswer(from, answer);
  }

  tick(): void {
    const { core, proposals, nowMs } = this.#deps;
    if (proposals.count === 0) return;
    const { term, lead, role } = core.basicStatus();
    this.#forwarder.tick(term, lead);
    const lostMs = this.#leaderLostAtMs === undefined ? 0 : nowMs() - this.#leaderLostAtMs;
    if (role === "StateLeader" || lostMs <= 2 * this.#options.electionTimeoutMs) return;
    proposals.failLost(term, lead === noNode, () => outcomeUnknown("leadership was lost", lead));
  }

  clear(error: BlixardError): void {
    this.#forwarder.clear(error);
  }
}

/** The payloads that fit into one append, from the proposal at `from` on; none for a configuration change. */
function payloadsFrom<Result>(waiting: readonly Proposal<Result>[], from: number, bytesMax: number): Uint8Array[] {
  const data: Uint8Array[] = [];
  let bytes = 0;
  for (let at = from; at < waiting.length; at++) {
    const proposal = waiting[at] as Proposal<Result>;
    bytes += proposal.bytes;
    if (proposal.kind !== "normal" || (bytes > bytesMax && at > from)) break;
    data.push(proposal.data);
  }
  return data;
}

const notTaken = (what: string) => notApplied("PROPOSAL_DROPPED", `the leader does not take ${what}`);

type Payload =
  | { readonly kind: "normal"; readonly data: Uint8Array }
  | { readonly kind: "confChange"; readonly change: ConfChange };
