/**
 * The follower's side of a snapshot transfer. The chunks go straight into the snapshot store; when it has all of them
 * durably, the MsgSnap that they belong to goes to the core, which decides whether to install it. Where the leader's
 * carrier offers the state, this node's carrier fetches it, and chunks are not taken meanwhile; if that fails, they are.
 *
 *     idle -> (chunk at 0) -> receiving -> (last chunk) -> saving -> (durable) -> idle, MsgSnap stepped
 *                                |-> superseded by a newer one, refused, or silent for too long: aborted, -> leaving
 *     leaving -> (the store has ended the save, either way) -> idle
 *
 * A save that was aborted may become durable all the same. The store then holds a snapshot that is not installed, and
 * refuses older ones. So a MsgSnap that this snapshot covers is stepped with it, whichever leader sent the message.
 */
import { BlixardError, errorCodeOf, type Logger, messageOf } from "@blixard/common";
import type { Message, NodeId, Snapshot } from "../core/types.ts";
import type { RaftNodeEvent } from "../node-events.ts";
import type { PeerMessage, PeerTransport, SnapshotCarrier, SnapshotMeta, SnapshotStore } from "../ports.ts";

export type SnapshotChunk = Extract<PeerMessage, { type: "snapshotChunk" }>;

interface Incoming {
  readonly from: NodeId;
  readonly message: Message;
  readonly snapshot: Snapshot;
  readonly sizeBytes: number;
  readonly chunks: ChunkStream;
  /** The state is fetched by the carrier, and not taken from chunks. */
  readonly carried: boolean;
  /** Why the carrier could not bring it. */
  carrierError: unknown;
  readonly abort: AbortController;
  receivedBytes: number;
  lastAtMs: number;
}

export interface SnapshotReceiverDeps {
  readonly snapshots: SnapshotStore;
  readonly transport: PeerTransport;
  readonly snapshotCarrier?: SnapshotCarrier;
  readonly logger: Logger;
  readonly nowMs: () => number;
  readonly post: (task: () => void) => void;
  /** Whether the core needs this snapshot, would ignore it, has it already, or cannot take another one yet. */
  readonly needs: (snapshot: Snapshot) => "yes" | "no" | "has_it" | "later";
  /** The newest snapshot in the store. */
  readonly newest: () => SnapshotMeta | undefined;
  /** The store has a newer snapshot than before. */
  readonly onStored: (meta: SnapshotMeta) => void;
  /** The state is durable, or not needed: step its MsgSnap. */
  readonly onReceived: (message: Message) => void;
  readonly onEvent: (event: RaftNodeEvent) => void;
  readonly onBytes: (bytes: number) => void;
  readonly onError: (error: unknown) => void;
}

export interface SnapshotReceiverOptions {
  readonly bytesMax: number;
  /** Milliseconds without a chunk after which what was received is dropped. */
  readonly silenceMs: number;
}

export class SnapshotReceiver {
  readonly #deps: SnapshotReceiverDeps;
  readonly #options: SnapshotReceiverOptions;
  #incoming: Incoming | undefined;
  /** Aborted, but not ended by the store yet. Two saves at once could change the newest snapshot during an install. */
  #leaving: Incoming | undefined;
  #saving: Promise<void> = Promise.resolve();
  /** The snapshot that the carrier failed to fetch, so that it comes in chunks. */
  #notCarried: Snapshot | undefined;

  constructor(deps: SnapshotReceiverDeps, options: SnapshotReceiverOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  receive(from: NodeId, chunk: SnapshotChunk): void {
    const { message, sizeBytes, offset } = chunk;
    const { snapshot } = message;
    if (snapshot === undefined || message.type !== "MsgSnap" || message.from !== from) return;
    const needs = this.#deps.needs(snapshot);
    if (needs === "later" || this.#leaving !== undefined) return;
    if (needs === "has_it") {
      // The core answers with its commit index, which ends the leader's wait.
      this.#deps.onReceived(message);
      this.#answer(from, snapshot, sizeBytes);
      return;
    }
    if (needs === "no" || !Number.isSafeInteger(sizeBytes) || sizeBytes < 0 || sizeBytes > this.#options.bytesMax) {
      this.#answer(from, snapshot, 0, true);
      return;
    }
    if (!this.#continues(from, chunk)) {
      if (this.#incoming !== undefined) {
        // The sender repeats the newer one, which is taken once the store has ended this one.
        if (isNewer(message, this.#incoming.message)) this.#abort("a newer snapshot supersedes it");
        else this.#answer(from, snapshot, 0, true);
        return;
      }
      if (this.#stepStored(chunk, snapshot)) return;
      if (offset !== 0) {
        this.#answer(from, snapshot, 0);
        return;
      }
      this.#incoming = this.#begin(from, message, snapshot, sizeBytes);
    }
    if (this.#incoming !== undefined) this.#accept(this.#incoming, chunk);
  }

  /** Steps the newest stored snapshot instead, if it covers this one and the core would take it; false if not. */
  #stepStored({ message, sizeBytes }: SnapshotChunk, snapshot: Snapshot): boolean {
    const newest = this.#deps.newest();
    if (newest === undefined || newest.index < snapshot.index) return false;
    const stored: Snapshot = { ...stateOf(newest), data: new Uint8Array() };
    if (this.#deps.needs(stored) !== "yes") return false;
    this.#deps.onReceived({ ...message, snapshot: stored });
    this.#answer(message.from as NodeId, snapshot, sizeBytes);
    return true;
  }

  #continues(from: NodeId, { message, sizeBytes }: SnapshotChunk): boolean {
    const incoming = this.#incoming;
    return (
      incoming !== undefined &&
      incoming.from === from &&
      incoming.message.term === message.term &&
      incoming.snapshot.index === message.snapshot?.index &&
      incoming.sizeBytes === sizeBytes
    );
  }

  #begin(from: NodeId, message: Message, snapshot: Snapshot, sizeBytes: number): Incoming {
    const { index, term, confState, data } = snapshot;
    const carrier = data.length > 0 && !isSame(snapshot, this.#notCarried) ? this.#deps.snapshotCarrier : undefined;
    const incoming: Incoming = {
      ...{ from, snapshot, sizeBytes, carried: carrier !== undefined, carrierError: undefined },
      // The core does not need the carrier's reference.
      message: { ...message, snapshot: { ...snapshot, data: new Uint8Array() } },
      ...{ chunks: new ChunkStream(), abort: new AbortController(), receivedBytes: 0, lastAtMs: 0 },
    };
    const meta = { index, term, confState };
    const chunks = carrier === undefined ? incoming.chunks : this.#carried(carrier, incoming, { ...meta, sizeBytes });
    this.#deps.logger.log("info", "receiving a snapshot", { from, index, sizeBytes, carried: incoming.carried });
    this.#deps.onEvent({ type: "snapshotReceiveStarted", from, index, sizeBytes });
    const saved = this.#deps.snapshots.save(meta, chunks, { signal: incoming.abort.signal });
    this.#saving = saved.then(
      (stored) => this.#deps.post(() => this.#saved(incoming, stored)),
      (error: unknown) => this.#deps.post(() => this.#failed(incoming, error)),
    );
    return incoming;
  }

  async *#carried(carrier: SnapshotCarrier, incoming: Incoming, meta: SnapshotMeta): AsyncIterable<Uint8Array> {
    const { from, snapshot, abort } = incoming;
    try {
      for await (const chunk of carrier.fetch(from, meta, snapshot.data, { signal: abort.signal })) {
        incoming.receivedBytes += chunk.length;
        this.#deps.onBytes(chunk.length);
        yield chunk;
      }
      if (incoming.receivedBytes !== meta.sizeBytes) throw new BlixardError("FRAME_CORRUPT", "it has another length");
    } catch (error) {
      incoming.carrierError = error;
      throw error;
    }
  }

  #accept(incoming: Incoming, { offset, data }: SnapshotChunk): void {
    const { from, snapshot, sizeBytes } = incoming;
    incoming.lastAtMs = this.#deps.nowMs();
    if (incoming.carried) {
      this.#answer(from, snapshot, 0);
      return;
    }
    // An empty state that is being saved gets no answer: 0 bytes would already say that all of it is durable.
    if (incoming.chunks.ended && sizeBytes === 0) return;
    const fits = offset + data.length <= sizeBytes && (data.length > 0 || sizeBytes === 0);
    if (incoming.chunks.full) return;
    if (offset !== incoming.receivedBytes || incoming.chunks.ended || !fits) {
      this.#answer(from, snapshot, heldBytes(incoming));
      return;
    }
    incoming.receivedBytes += data.length;
    this.#deps.onBytes(data.length);
    const isLast = incoming.receivedBytes === sizeBytes;
    incoming.chunks.push(data, isLast, () =>
      // The answer waits until the store took the chunk, because only then is there room for the next one.
      this.#deps.post(() => {
        if (this.#incoming === incoming) this.#answer(from, snapshot, heldBytes(incoming));
      }),
    );
  }

  #saved(incoming: Incoming, meta: SnapshotMeta): void {
    if (this.#leaving === incoming) this.#leaving = undefined;
    this.#deps.onStored(meta);
    if (this.#incoming !== incoming) return;
    this.#incoming = undefined;
    this.#ended(incoming, true, "all of it is durable");
    this.#deps.onReceived(incoming.message);
    this.#answer(incoming.from, incoming.snapshot, incoming.sizeBytes);
  }

  #failed(incoming: Incoming, error: unknown): void {
    if (this.#leaving === incoming) this.#leaving = undefined;
    const current = this.#incoming === incoming;
    if (current) this.#incoming = undefined;
    if (incoming.abort.signal.aborted) return;
    if (incoming.carrierError === error) {
      if (current) this.#takeChunks(incoming);
      return;
    }
    if (errorCodeOf(error) !== "CONFLICT") this.#deps.onError(error);
    else if (current) {
      this.#ended(incoming, false, "a newer snapshot was taken here");
      this.#answer(incoming.from, incoming.snapshot, 0, true);
    }
  }

  #takeChunks(incoming: Incoming): void {
    const { from, snapshot, carrierError } = incoming;
    const reason = messageOf(carrierError);
    this.#deps.logger.log("warn", "a snapshot cannot be fetched, and comes in messages", { from, reason });
    this.#notCarried = snapshot;
    this.#ended(incoming, false, reason);
    this.#answer(from, snapshot, 0);
  }

  #ended({ from, snapshot }: Incoming, ok: boolean, reason: string): void {
    this.#deps.onEvent({ type: "snapshotReceiveEnded", from, index: snapshot.index, ok, reason });
  }

  tick(): void {
    const incoming = this.#incoming;
    if (incoming === undefined || incoming.chunks.ended) return;
    if (this.#deps.nowMs() - incoming.lastAtMs >= this.#options.silenceMs) this.#abort("the sender fell silent");
  }

  #abort(reason: string): void {
    const incoming = this.#incoming;
    if (incoming === undefined) return;
    this.#incoming = undefined;
    this.#leaving = incoming;
    this.#deps.logger.log("warn", "a snapshot was dropped", { index: incoming.snapshot.index, reason });
    this.#ended(incoming, false, reason);
    incoming.abort.abort(new BlixardError("CANCELLED", reason));
    incoming.chunks.fail(new BlixardError("CANCELLED", reason));
  }

  async close(): Promise<void> {
    this.#abort("the node stops");
    await this.#saving;
  }

  #answer(to: NodeId, { index, term }: Snapshot, receivedBytes: number, refused = false): void {
    this.#deps.transport.send(to, { type: "snapshotAck", index, term, receivedBytes, refused });
  }
}

/** Reports at most all but the last byte, because the whole size means that the state is durable. */
function heldBytes({ receivedBytes, sizeBytes }: Incoming): number {
  return Math.max(0, Math.min(receivedBytes, sizeBytes - 1));
}

const stateOf = ({ index, term, confState }: SnapshotMeta) => ({ index, term, confState });

function isSame(a: Snapshot, b: Snapshot | undefined): boolean {
  return a.index === b?.index && a.term === b.term;
}

/** A leader of a later term, or a later state of the same leader. */
function isNewer(a: Message, b: Message): boolean {
  return a.term > b.term || (a.term === b.term && (a.snapshot?.index ?? 0) > (b.snapshot?.index ?? 0));
}

/** Hands chunks from the loop to the store, one at a time. */
class ChunkStream implements AsyncIterable<Uint8Array> {
  #next: { readonly data: Uint8Array; readonly taken: () => void } | undefined;
  #error: Error | undefined;
  #wake: () => void = () => {};
  ended = false;

  get full(): boolean {
    return this.#next !== undefined;
  }

  push(data: Uint8Array, isLast: boolean, taken: () => void): void {
    this.#next = { data, taken };
    this.ended = isLast;
    this.#wake();
  }

  fail(error: Error): void {
    this.#error = error;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    for (;;) {
      if (this.#error !== undefined) throw this.#error;
      const next = this.#next;
      if (next !== undefined) {
        this.#next = undefined;
        yield next.data;
        if (!this.ended) next.taken();
      } else if (this.ended) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}
