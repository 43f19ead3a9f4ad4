/**
 * Rules about who may send what to whom that no single log or state shows when they are broken: who is answered about a
 * snapshot, and to whom leadership is offered.
 */
import type { ConfState, PeerMessage } from "@blixard/raft";
import type { Violations } from "./violation.ts";

interface Configured {
  readonly confState: ConfState;
  readonly atMs: number;
}

/** From the state machine's change to the core's: the two are not one step. */
const takesEffectMs = 5;

export class ExchangeChecker {
  readonly #violations: Violations;
  /** Snapshots that one node has sent to another: `from>to index@term`. */
  readonly #snapshotsSent = new Set<string>();
  /** By node: the newest configuration that it has applied. */
  readonly #configured = new Map<number, Configured>();

  constructor(violations: Violations) {
    this.#violations = violations;
  }

  /** A node has applied this configuration, or one that is equal. */
  configured(nodeId: number, confState: ConfState): void {
    const known = this.#configured.get(nodeId)?.confState;
    if (
      known !== undefined &&
      `${known.voters}/${known.votersOutgoing}` === `${confState.voters}/${confState.votersOutgoing}`
    ) {
      return;
    }
    this.#configured.set(nodeId, { confState, atMs: this.#violations.nowMs });
  }

  /** The node starts again: what it has applied, it tells anew. */
  loaded(nodeId: number): void {
    this.#configured.delete(nodeId);
  }

  sent(from: number, to: number, envelope: PeerMessage): void {
    if (envelope.type === "snapshotChunk") {
      const { snapshot } = envelope.message;
      if (snapshot !== undefined) this.#snapshotsSent.add(transferOf(from, to, snapshot));
    } else if (envelope.type === "snapshotAck") {
      if (this.#snapshotsSent.has(transferOf(to, from, envelope))) return;
      const detail = `node ${from} answers node ${to} about snapshot ${envelope.index}, which that never sent to it`;
      this.#violations.report("only who sent a snapshot is answered", detail);
    } else if (envelope.type === "raft" && envelope.message.type === "MsgTimeoutNow") this.#offered(from, to);
  }

  #offered(from: number, to: number): void {
    const configured = this.#configured.get(from);
    if (configured === undefined || this.#violations.nowMs - configured.atMs < takesEffectMs) return;
    const { voters, votersOutgoing } = configured.confState;
    if ([...voters, ...votersOutgoing].some((voter) => voter === to)) return;
    const detail = `node ${from} offers leadership to node ${to}, which has no vote`;
    this.#violations.report("leadership goes to voters", detail);
  }
}

function transferOf(
  from: number,
  to: number,
  { index, term }: { readonly index: number; readonly term: number },
): string {
  return `${from}>${to} ${index}@${term}`;
}
