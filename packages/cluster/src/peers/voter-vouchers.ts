/**
 * Asks the voters that this node knows whether a sender is a voter that it does not know as one: its state may be behind.
 *
 * A word counts when it comes from a voter and from a state that is at least as new as the one here, so that it is what
 * this node will apply later. This node counts as one of the majority where it votes, because it is to be convinced, but
 * never alone: in a group of three the word of one other voter is enough. That gives a voter nothing that it does not
 * have, because its own Raft messages are taken as well.
 */
import type { Clock } from "@blixard/common";
import { limits } from "@blixard/protocol";
import type { PeerCalls } from "../calls/peer-calls.ts";
import type { ClusterStateMachine } from "../cluster-state-machine.ts";
import { nodeKey } from "../state-machine/state.ts";
import { votes } from "./reachability.ts";

export interface VoterVouchersDeps {
  readonly clock: Clock;
  readonly peerCalls: Pick<PeerCalls, "ask">;
  readonly stateMachine: Pick<ClusterStateMachine, "state" | "version">;
  readonly nodeId: number;
  readonly appliedIndex: () => number;
  /** A majority of each has to vouch. */
  readonly electorates: () => readonly (readonly number[])[];
}

/** What the others said of one sender. */
interface Inquiry {
  readonly endpointId: string;
  /** Where the node records changed last when it was asked: what this node learns itself takes the place of words. */
  readonly nodesIndex: number;
  asking: boolean;
  askedAtMs: number;
  /** The words count until then. */
  vouchedUntilMs: number;
}

const answerTimeoutMs = 1_000;
const askAgainMs = 1_000;
const vouchedForMs = 5_000;
/** Words are renewed when they have so little time left, before they end. */
const renewMs = 2_500;

export class VoterVouchers {
  readonly #deps: VoterVouchersDeps;
  readonly #inquiries = new Map<number, Inquiry>();
  readonly #closing = new AbortController();

  constructor(deps: VoterVouchersDeps) {
    this.#deps = deps;
  }

  /** Whether enough voters have said lately that `id`, with this key, is one of them. Asks them where that is not known. */
  vouchFor(id: number, endpointId: string): boolean {
    const inquiry = this.#inquiryOf(id, endpointId);
    const nowMs = this.#deps.clock.monotonicMs();
    const due = nowMs - inquiry.askedAtMs >= askAgainMs && inquiry.vouchedUntilMs - nowMs < renewMs;
    if (due && !inquiry.asking && !this.#closing.signal.aborted) {
      inquiry.asking = true;
      inquiry.askedAtMs = nowMs;
      void this.#ask(id, inquiry);
    }
    return nowMs < inquiry.vouchedUntilMs;
  }

  close(): void {
    this.#closing.abort();
  }

  #inquiryOf(id: number, endpointId: string): Inquiry {
    const nodesIndex = this.#deps.stateMachine.version.value.changed.nodes;
    const known = this.#inquiries.get(id);
    const isCurrent = known?.endpointId === endpointId && known.nodesIndex === nodesIndex;
    // One that is under way stays: a sender is asked about by one question at a time.
    if (known !== undefined && (isCurrent || known.asking)) return isCurrent ? known : expired(known);
    const never = Number.NEGATIVE_INFINITY;
    const inquiry = { endpointId, nodesIndex, asking: false, askedAtMs: never, vouchedUntilMs: never };
    this.#inquiries.delete(id);
    this.#inquiries.set(id, inquiry);
    const [oldest] = this.#inquiries.keys();
    if (this.#inquiries.size > limits.nodesMax && oldest !== undefined) this.#inquiries.delete(oldest);
    return inquiry;
  }

  /** Never rejects. Those that are slow to answer do not keep the words of the others waiting. */
  async #ask(id: number, inquiry: Inquiry): Promise<void> {
    const { clock, peerCalls, stateMachine, nodeId, appliedIndex, electorates } = this.#deps;
    const asked = electorates();
    const { nodes } = stateMachine.state;
    const isAsked = (voter: number) => {
      const record = nodes.get(nodeKey(voter));
      return voter !== nodeId && voter !== id && (record === undefined || votes(record));
    };
    const request = { id, endpointId: inquiry.endpointId, appliedIndex: appliedIndex() };
    const words = new Set<number>();
    const voters = [...new Set(asked.flat())].filter(isAsked);
    const limitsOfCall = { timeoutMs: answerTimeoutMs, signal: this.#closing.signal };
    await Promise.all(
      voters.map(async (voter) => {
        try {
          const { vouches } = await peerCalls.ask(voter, "member.vouch", request, limitsOfCall);
          if (!vouches) return;
          words.add(voter);
          if (isMajorityOfEach(asked, words, nodeId)) inquiry.vouchedUntilMs = clock.monotonicMs() + vouchedForMs;
        } catch {
          // It cannot be reached, or its release knows no such question: it has not vouched.
        }
      }),
    );
    inquiry.asking = false;
  }
}

function expired(inquiry: Inquiry): Inquiry {
  return { ...inquiry, vouchedUntilMs: Number.NEGATIVE_INFINITY };
}

function isMajorityOfEach(
  electorates: readonly (readonly number[])[],
  words: ReadonlySet<number>,
  nodeId: number,
): boolean {
  if (words.size === 0) return false;
  return electorates.every((voters) => {
    const vouching = voters.filter((voter) => words.has(voter) || voter === nodeId);
    return vouching.length > voters.length / 2;
  });
}
