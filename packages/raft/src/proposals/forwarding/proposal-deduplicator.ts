/**
 * The leader's side of forwarding: remembers which proposals of other nodes it has answered, so that a copy that the
 * network repeats, or that the sender sends again, gets the first answer and is not appended twice.
 */
import { assert } from "@blixard/common";
import type { NodeId } from "../../core/types.ts";
import type { PeerMessage, ProposalVerdict } from "../../ports.ts";
import { forwardWindow } from "./proposal-forwarder.ts";

export type ForwardedProposal = Extract<PeerMessage, { type: "proposal" }>;

/** Runs of one sender that are remembered. No copy is so late that its sender restarted more often meanwhile. */
const sessionsMax = 16;
/** Decided proposals of one run that are remembered: twice the sender's window, so that none is forgotten too soon. */
const verdictsMax = 2 * forwardWindow;

interface Session {
  highest: number;
  readonly verdicts: Map<number, ProposalVerdict>;
}

export class ProposalDeduplicator {
  readonly #peers = new Map<NodeId, Map<number, Session>>();

  /**
   * The earlier answer to a proposal that was decided; "new" for one that has to be decided now; "late" for one that is
   * too old to tell, which gets no answer.
   */
  find(from: NodeId, { session, sequence }: ForwardedProposal): "new" | "late" | ProposalVerdict {
    const known = this.#session(from, session);
    return known.verdicts.get(sequence) ?? (sequence <= known.highest - verdictsMax ? "late" : "new");
  }

  record(from: NodeId, { session, sequence }: ForwardedProposal, verdict: ProposalVerdict): void {
    const known = this.#session(from, session);
    known.verdicts.set(sequence, verdict);
    known.highest = Math.max(known.highest, sequence);
    if (known.verdicts.size <= verdictsMax) return;
    for (const old of known.verdicts.keys()) {
      if (old > known.highest - verdictsMax) continue;
      known.verdicts.delete(old);
    }
    assert(known.verdicts.size <= verdictsMax, "the window of forwarded proposals is bounded");
  }

  #session(from: NodeId, session: number): Session {
    const sessions = this.#peers.get(from) ?? new Map<number, Session>();
    this.#peers.set(from, sessions);
    const known = sessions.get(session) ?? { highest: 0, verdicts: new Map() };
    // The session that was used last is the last one to be forgotten.
    sessions.delete(session);
    sessions.set(session, known);
    const [oldest] = sessions.keys();
    if (sessions.size > sessionsMax && oldest !== undefined) sessions.delete(oldest);
    return known;
  }
}
