/**
 * The follower's side of a snapshot transfer. The chunks go straight into the snapshot store; when it has all of them
 * durably, the MsgSnap that they belong to goes to the core, which decides whether to install it.
 *
 *     idle -> (chunk at 0) -> receiving -> (last chunk) -> saving -> (durable) -> idle, MsgSnap stepped
 *                                |-> superseded by a newer one, refused, or silent for too long: aborted
 */
import { BlixardError, errorCodeOf, type Logger } from "@blixard/common";
import type { Message, NodeId, Snapshot } from "./core/types.ts";
import type { RaftNodeEvent } from "./node-events.ts";
import type { PeerMessage, PeerTransport, SnapshotMeta, SnapshotStore } from "./ports.ts";

export type SnapshotChunk = Extract<PeerMessage, { type: "snapshotChunk" }>;

interface Incoming {
  readonly from: NodeId;
  readonly message: Message;
  readonly snapshot: Snapshot;
  readonly sizeBytes: number;
  readonly chunks: ChunkStream;
  readonly abort: AbortController;
  receivedBytes: number;
  lastAtMs: number;
}

export interface SnapshotReceiverDeps {
  readonly snapshots: SnapshotStore;
  readonly transport: PeerTransport;
  readonly logger: Logger;
  readonly nowMs: () => number;
  readonly post: (task: () => void) => void;
  /** Whether the core would ignore this snapshot, or cannot take another one yet. */
  readonly needs: (snapshot: Snapshot) => "yes" | "no" | "has_it" | "later";
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
  #saving: Promise<void> = Promise.resolve();

  constructor(deps: SnapshotReceiverDeps, options: SnapshotReceiverOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  receive(from: NodeId, chunk: SnapshotChunk): void {
    const { message, sizeBytes, offset } = chunk;
    const { snapshot } = message;
    if (snapshot === undefined || message.type !== "MsgSnap" || message.from !== from) return;
    const needs = this.#deps.needs(snapshot);
    if (needs === "later") return;
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
      if (this.#incoming !== undefined && !isNewer(message, this.#incoming.message)) {
        this.#answer(from, snapshot, 0, true);
        return;
      }
      this.#abort("a newer snapshot supersedes it");
      if (offset !== 0) {
        this.#answer(from, snapshot, 0);
        return;
      }
      this.#incoming = this.#begin(from, message, snapshot, sizeBytes);
    }
    if (this.#incoming !== undefined) this.#accept(this.#incoming, chunk);
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
    const chunks = new ChunkStream();
    const abort = new AbortController();
    const { index, term, confState } = snapshot;
    const incoming = { from, message, snapshot, sizeBytes, chunks, abort, receivedBytes: 0, lastAtMs: 0 };
    this.#deps.logger.log("info", "receiving a snapshot", { from, index, sizeBytes });
    this.#deps.onEvent({ type: "snapshotReceiveStarted", from, index, sizeBytes });
    const saved = this.#deps.snapshots.save({ index, term, confState }, chunks, { signal: abort.signal });
    this.#saving = saved.then(
      (meta) => this.#deps.post(() => this.#saved(incoming, meta)),
      (error: unknown) => this.#deps.post(() => this.#failed(incoming, error)),
    );
    return incoming;
  }

  #accept(incoming: Incoming, { offset, data }: SnapshotChunk): void {
    const { from, snapshot, sizeBytes } = incoming;
    incoming.lastAtMs = this.#deps.nowMs();
    // While an empty state is being saved there is no number of bytes that says "not yet".
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
      // The store took it: only then is there room for the next one.
      this.#deps.post(() => {
        if (this.#incoming === incoming) this.#answer(from, snapshot, heldBytes(incoming));
      }),
    );
  }

  #saved(incoming: Incoming, meta: SnapshotMeta): void {
    this.#deps.onStored(meta);
    if (this.#incoming !== incoming) return;
    this.#incoming = undefined;
    this.#ended(incoming, true, "all of it is durable");
    this.#deps.onReceived(incoming.message);
    this.#answer(incoming.from, incoming.snapshot, incoming.sizeBytes);
  }

  #failed(incoming: Incoming, error: unknown): void {
    const current = this.#incoming === incoming;
    if (current) this.#incoming = undefined;
    if (incoming.abort.signal.aborted) return;
    if (errorCodeOf(error) !== "CONFLICT") this.#deps.onError(error);
    else if (current) {
      this.#ended(incoming, false, "a newer snapshot was taken here");
      this.#answer(incoming.from, incoming.snapshot, 0, true);
    }
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

/** The whole size is only named when all of it is durable: until then the last byte is held back. */
function heldBytes({ receivedBytes, sizeBytes }: Incoming): number {
  return Math.max(0, Math.min(receivedBytes, sizeBytes - 1));
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
