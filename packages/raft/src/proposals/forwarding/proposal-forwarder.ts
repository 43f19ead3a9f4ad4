/**
 * The follower's side of forwarding. It sends proposals made here to the leader of this term, which answers where in
 * the log it put them, or why it did not. This node sees the outcome when it applies the entry at that place.
 *
 *     (leader known) -> sent -> (answer) -> placed here, or refused
 *                        |-> no answer: sent again, under the same name, so that it counts once
 *                        |-> the term is over, or nobody answers: OUTCOME_UNKNOWN, since a copy may be in a log
 */
import { type BlixardError, notApplied, type Random } from "@blixard/common";
import type { Entry, LogIndex, NodeId, Term } from "../../core/types.ts";
import type { PeerMessage, PeerTransport } from "../../ports.ts";
import { notLeader, outcomeUnknown, overloaded, refusalError } from "../proposal-errors.ts";
import type { Proposal, ProposalTable } from "../proposal-table.ts";

/** Most proposals from the oldest unanswered one to the newest. The leader remembers more than that. */
export const forwardWindow = 4_096;

interface Forwarded<Result> {
  readonly proposal: Proposal<Result>;
  readonly to: NodeId;
  readonly term: Term;
  readonly message: PeerMessage;
  sentAtMs: number;
  tries: number;
  /** Whether the transport took a copy. While it took none, the proposal cannot have been applied. */
  left: boolean;
}

export interface ForwarderDeps<Result> {
  readonly transport: PeerTransport;
  readonly random: Random;
  readonly nowMs: () => number;
  readonly proposals: ProposalTable<Result>;
}

export interface ForwarderOptions {
  /** Milliseconds without an answer after which a proposal is sent again. */
  readonly retryMs: number;
  /** Copies that are sent before the outcome counts as unknown. */
  readonly triesMax: number;
}

export type ProposalAnswer = Extract<PeerMessage, { type: "proposalAnswer" }>;

const zero = { term: 0 as Term, index: 0 as LogIndex };

export class ProposalForwarder<Result> {
  readonly #deps: ForwarderDeps<Result>;
  readonly #options: ForwarderOptions;
  /** Tells this run of the node from earlier ones. */
  readonly #session: number;
  readonly #pending = new Map<number, Forwarded<Result>>();
  #sequence = 0;

  constructor(deps: ForwarderDeps<Result>, options: ForwarderOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#session = deps.random.bytes(6).reduce((value, byte) => value * 256 + byte, 0);
  }

  send(proposal: Proposal<Result>, to: NodeId, term: Term): void {
    const [oldest] = this.#pending.keys();
    if (oldest !== undefined && this.#sequence + 1 - oldest >= forwardWindow) {
      this.#deps.proposals.fail(proposal, overloaded("too many forwarded proposals wait for the leader's answer"));
      return;
    }
    const sequence = ++this.#sequence;
    const entry: Entry =
      proposal.kind === "normal"
        ? { ...zero, kind: "normal", data: proposal.data }
        : { ...zero, kind: "confChange", change: proposal.change };
    const name = { term, session: this.#session, sequence };
    const message: PeerMessage = { type: "proposal", ...name, force: proposal.force, entry };
    const forwarded = { proposal, to, term, message, sentAtMs: 0, tries: 0, left: false };
    this.#pending.set(sequence, forwarded);
    this.#deps.proposals.keepRecent(true);
    this.#transmit(forwarded);
  }

  receiveAnswer(from: NodeId, { session, sequence, verdict }: ProposalAnswer): void {
    const forwarded = this.#pending.get(sequence);
    if (session !== this.#session || forwarded === undefined || forwarded.to !== from) return;
    this.#pending.delete(sequence);
    const { proposals } = this.#deps;
    if (verdict.type === "placed") proposals.place(forwarded.proposal, verdict.index, verdict.term);
    else proposals.fail(forwarded.proposal, refusalError(verdict));
    this.#keepRecent();
  }

  /** Sends unanswered proposals again, and gives up those that cannot be answered any more. */
  tick(term: Term, leaderId: NodeId): void {
    if (this.#pending.size === 0) return;
    const nowMs = this.#deps.nowMs();
    for (const [sequence, forwarded] of this.#pending) {
      if (forwarded.proposal.settled) this.#pending.delete(sequence);
      else if (forwarded.term < term || forwarded.tries >= this.#options.triesMax) {
        this.#giveUp(sequence, forwarded, leaderId);
      } else if (nowMs - forwarded.sentAtMs >= this.#options.retryMs) this.#transmit(forwarded);
    }
    this.#keepRecent();
  }

  /** Forgets everything. A proposal that never left ends as not applied; the owner ends the other waits. */
  clear({ code, message, cause }: BlixardError): void {
    for (const { proposal, left } of this.#pending.values()) {
      const error = notApplied(code, message, { cause });
      if (!left) this.#deps.proposals.fail(proposal, error);
    }
    this.#pending.clear();
    this.#keepRecent();
  }

  #giveUp(sequence: number, { proposal, left }: Forwarded<Result>, leaderId: NodeId): void {
    this.#pending.delete(sequence);
    const error = left ? outcomeUnknown("the leader did not answer", leaderId) : notLeader(leaderId);
    this.#deps.proposals.fail(proposal, error);
  }

  #transmit(forwarded: Forwarded<Result>): void {
    forwarded.tries++;
    forwarded.sentAtMs = this.#deps.nowMs();
    if (!this.#deps.transport.send(forwarded.to, forwarded.message) || forwarded.left) return;
    forwarded.left = true;
    this.#deps.proposals.accepted(forwarded.proposal, forwarded.term);
  }

  #keepRecent(): void {
    this.#deps.proposals.keepRecent(this.#pending.size > 0);
  }
}
