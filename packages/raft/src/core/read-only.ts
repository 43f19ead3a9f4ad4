/**
 * Linearizable reads without log entries (thesis section 6.4). The leader numbers the reads of its term. Each
 * heartbeat carries the number of the newest read; its answers confirm, once from a quorum, that the leader was
 * still the leader after all reads up to that number came in.
 */
import { jointCommittedIndex } from "./quorum.ts";
import type { ConfState, LogIndex, Message, NodeId } from "./types.ts";

/** Reads that wait for a confirmation, or for the first commit of a term; further ones are dropped. */
export const pendingReadsMax = 65_536;

/** A heartbeat's context is the number as two little-endian words. */
const contextBytes = 8;
const wordRange = 2 ** 32;

export interface PendingRead {
  readonly request: Message;
  /** The commit index when the request came in. */
  readonly index: LogIndex;
}

export class ReadOnly {
  readonly #acks = new Map<NodeId, number>();
  #unconfirmed: PendingRead[] = [];
  /** How many reads of this term were confirmed; those in `#unconfirmed` have the next numbers. */
  #confirmed = 0;

  /** Takes a read; false when too many wait already. */
  add(request: Message, index: LogIndex): boolean {
    if (this.#unconfirmed.length >= pendingReadsMax) return false;
    this.#unconfirmed.push({ request, index });
    return true;
  }

  /** What the next heartbeat carries; undefined when no read waits. */
  heartbeatContext(): Uint8Array | undefined {
    return this.#unconfirmed.length === 0 ? undefined : encodeNumber(this.#newest);
  }

  /** Notes that `from` answered a heartbeat with this context. */
  acknowledge(from: NodeId, context: Uint8Array): void {
    if (context.length !== contextBytes) return;
    const number = Math.min(decodeNumber(context), this.#newest);
    this.#acks.set(from, Math.max(this.#acks.get(from) ?? 0, number));
  }

  /** Takes out the reads that a quorum of `config` confirms, in the order in which they came. */
  confirm(config: ConfState): readonly PendingRead[] {
    const number = jointCommittedIndex(config.voters, config.votersOutgoing, (id) => this.#acks.get(id));
    const count = Math.min(number - this.#confirmed, this.#unconfirmed.length);
    if (count <= 0) return [];
    this.#confirmed += count;
    return this.#unconfirmed.splice(0, count);
  }

  get #newest(): number {
    return this.#confirmed + this.#unconfirmed.length;
  }
}

function encodeNumber(number: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(contextBytes));
  view.setUint32(0, number % wordRange, true);
  view.setUint32(4, Math.floor(number / wordRange), true);
  return new Uint8Array(view.buffer);
}

function decodeNumber(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return view.getUint32(4, true) * wordRange + view.getUint32(0, true);
}
