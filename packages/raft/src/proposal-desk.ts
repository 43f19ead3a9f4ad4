/**
 * Takes proposals of callers here and of other nodes, and hands each to the core or to the leader; where it came to
 * stand, and what became of it, is the business of {@link Proposals}.
 */
import { BlixardError, errorCodeOf, type Random } from "@blixard/common";
import { isMember } from "./configuration.ts";
import type { RaftEvent } from "./core/events.ts";
import {
  type ConfChange,
  type ConfState,
  type Entry,
  type NodeId,
  noNode,
  type RaftCore,
  type Term,
} from "./core/types.ts";
import { type ForwardedProposal, ForwardedProposals } from "./forwarded-proposals.ts";
import { Placements } from "./placements.ts";
import type { PeerTransport, ProposalVerdict } from "./ports.ts";
import { changeRefused, dropped, notLeader, outcomeUnknown, refusalOf } from "./proposal-errors.ts";
import { type ProposalAnswer, ProposalForwarder } from "./proposal-forwarder.ts";
import type { Proposal, Proposals } from "./proposals.ts";
import { quorumRisk } from "./quorum-risk.ts";

export interface ProposalDeskDeps<Result> {
  readonly id: NodeId;
  readonly core: RaftCore;
  readonly proposals: Proposals<Result>;
  readonly transport: PeerTransport;
  readonly random: Random;
  readonly nowMs: () => number;
  /** The newest configuration in use. */
  readonly confState: () => ConfState;
  /** Whether that voter was heard of lately. */
  readonly isActive: (id: NodeId) => boolean;
  readonly onForwarded: (direction: "sent" | "received") => void;
}

export interface ProposalDeskOptions {
  readonly forward: boolean;
  readonly forwardRetryMs: number;
  readonly forwardTriesMax: number;
  readonly electionTimeoutMs: number;
  /** The term that this run of the node started with: in later ones it knows all that it took. */
  readonly startTerm: Term;
}

export class ProposalDesk<Result> {
  readonly #deps: ProposalDeskDeps<Result>;
  readonly #options: ProposalDeskOptions;
  readonly #placements = new Placements();
  readonly #forwarder: ProposalForwarder<Result>;
  readonly #forwarded = new ForwardedProposals();
  /** Why the core refused the proposal that is being handed to it. */
  #refusal: string | undefined;
  /** Since when the leadership, of this node or of another, that proposals were given to is lost. */
  #leaderLostAtMs: number | undefined;

  constructor(deps: ProposalDeskDeps<Result>, options: ProposalDeskOptions) {
    this.#deps = deps;
    this.#options = options;
    const { forwardRetryMs: retryMs, forwardTriesMax: triesMax } = options;
    this.#forwarder = new ProposalForwarder(deps, { retryMs, triesMax });
  }

  /** The core tells why it refuses while it is being asked. */
  noteEvent(event: RaftEvent): void {
    if (event.type === "proposalDropped" || event.type === "confChangeRefused") this.#refusal = event.reason;
  }

  /** Another node leads than before, or none, or another term began. */
  leaderChanged(): void {
    this.#leaderLostAtMs = this.#deps.nowMs();
  }

  handWaiting(): void {
    const waiting = this.#deps.proposals.takeWaiting();
    if (waiting.length === 0) return;
    const { id, core, onForwarded } = this.#deps;
    const { role, lead, term } = core.status();
    const forwards = this.#options.forward && role !== "StateLeader" && lead !== 0 && lead !== id;
    for (const proposal of waiting) {
      if (forwards) {
        this.#forwarder.send(proposal, lead, term);
        onForwarded("sent");
      } else this.#hand(proposal, term);
    }
  }

  #hand(proposal: Proposal<Result>, term: Term): void {
    const { proposals } = this.#deps;
    const refusal = this.#give(proposal, proposal.force);
    if (refusal !== undefined) {
      proposals.fail(proposal, refusal);
      return;
    }
    proposals.accepted(proposal, term);
    this.#placements.expect(proposal, ({ index, term }) => proposals.place(proposal, index, term));
  }

  /** Hands a payload to the core; the error when it is not in the log. */
  #give(payload: Payload, force: boolean): BlixardError | undefined {
    const { core, confState, isActive } = this.#deps;
    this.#refusal = undefined;
    try {
      if (payload.kind === "normal") core.propose(payload.data);
      else {
        const risk = force || !this.#leads ? undefined : quorumRisk(confState(), payload.change, isActive);
        if (risk !== undefined) return risk;
        core.proposeConfChange(payload.change);
      }
    } catch (error) {
      if (errorCodeOf(error) !== "PROPOSAL_DROPPED") throw error;
      return dropped(this.#refusal, core.status());
    }
    return this.#refusal === undefined ? undefined : changeRefused(this.#refusal);
  }

  get #leads(): boolean {
    return this.#deps.core.status().role === "StateLeader";
  }

  /** Another node asks this one to append its proposal. */
  requested(from: NodeId, proposal: ForwardedProposal): void {
    const known = this.#forwarded.look(from, proposal);
    if (known === "late" || known === "pending") return;
    if (known !== "new") {
      this.#answer(from, proposal, known);
      return;
    }
    const { term, lead, role } = this.#deps.core.status();
    // In a term before this run of the node it may have taken an earlier copy, which it does not know any more.
    if (proposal.term > term || proposal.term <= this.#options.startTerm) return;
    if (!this.#options.forward) this.#judge(from, proposal, refusalOf(notTaken("forwarded proposals"), lead));
    else if (proposal.term < term || role !== "StateLeader") {
      this.#judge(from, proposal, refusalOf(notLeader(lead), lead));
    } else if (!isMember(this.#deps.confState(), from)) {
      this.#judge(from, proposal, refusalOf(notTaken("proposals of nodes that are no members"), lead));
    } else this.#take(from, proposal);
  }

  #take(from: NodeId, proposal: ForwardedProposal): void {
    const { entry, force } = proposal;
    if (entry.kind === "normal" && entry.data.length === 0) return;
    this.#deps.onForwarded("received");
    const refusal = this.#give(entry, force);
    if (refusal !== undefined) {
      this.#judge(from, proposal, refusalOf(refusal, this.#deps.core.status().lead));
      return;
    }
    this.#forwarded.taken(from, proposal);
    this.#placements.expect(entry, ({ index, term }) => this.#judge(from, proposal, { type: "placed", index, term }));
  }

  #judge(from: NodeId, proposal: ForwardedProposal, verdict: ProposalVerdict): void {
    this.#forwarded.judged(from, proposal, verdict);
    this.#answer(from, proposal, verdict);
  }

  #answer(to: NodeId, { session, sequence }: ForwardedProposal, verdict: ProposalVerdict): void {
    this.#deps.transport.send(to, { type: "proposalAnswer", session, sequence, verdict });
  }

  answered(from: NodeId, answer: ProposalAnswer): void {
    this.#forwarder.answered(from, answer);
  }

  /** Newly appended entries have their places. */
  place(entries: readonly Entry[]): void {
    this.#placements.place(entries);
  }

  /** What has no place by now was overwritten before it was written. */
  turnEnded(): void {
    if (this.#placements.size > 0) this.#placements.clear();
  }

  tick(): void {
    const { core, proposals, nowMs } = this.#deps;
    if (proposals.count === 0) return;
    const { term, lead, role } = core.status();
    this.#forwarder.tick(term, lead);
    const lostMs = this.#leaderLostAtMs === undefined ? 0 : nowMs() - this.#leaderLostAtMs;
    if (role === "StateLeader" || lostMs <= 2 * this.#options.electionTimeoutMs) return;
    proposals.failLost(term, lead === noNode, () => outcomeUnknown("leadership was lost", lead));
  }

  clear(error: BlixardError): void {
    this.#placements.clear();
    this.#forwarder.clear(error);
  }
}

const notTaken = (what: string) =>
  new BlixardError("PROPOSAL_DROPPED", `the leader does not take ${what}`, { outcome: "not_applied" });

type Payload =
  | { readonly kind: "normal"; readonly data: Uint8Array }
  | { readonly kind: "confChange"; readonly change: ConfChange };
