/**
 * The leader's side of a snapshot transfer: one chunk at a time to each peer, sent again when no answer comes. The
 * receiver's answer says which offset it wants next: a transfer that broke off goes on where it was, and a receiver
 * that restarted is simply sent everything again.
 */
import { errorCodeOf, type Logger, messageOf } from "@blixard/common";
import type { Message, NodeId, Snapshot } from "../core/types.ts";
import type { RaftNodeEvent } from "../node-events.ts";
import type { PeerMessage, PeerTransport, SnapshotCarrier, SnapshotMeta, SnapshotStore } from "../ports.ts";

interface Transfer {
  readonly to: NodeId;
  /** Holds the carrier's offer, once that is known. */
  message: Message;
  readonly snapshot: Snapshot;
  readonly sizeBytes: number;
  offset: number;
  sentAtMs: number;
  retries: number;
  reading: boolean;
}

export interface SnapshotSenderDeps {
  readonly snapshots: SnapshotStore;
  readonly transport: PeerTransport;
  readonly snapshotCarrier?: SnapshotCarrier;
  readonly logger: Logger;
  readonly nowMs: () => number;
  /** Runs a task on the owner's loop. */
  readonly post: (task: () => void) => void;
  readonly onEvent: (event: RaftNodeEvent) => void;
  readonly onBytes: (bytes: number) => void;
  /** The snapshot that was to be sent cannot be read any more. */
  readonly onDamaged: () => void;
  /** Tells the core how a transfer ended. */
  readonly onEnd: (to: NodeId, ok: boolean) => void;
}

export interface SnapshotSenderOptions {
  readonly chunkBytes: number;
  readonly retryMs: number;
  readonly retriesMax: number;
}

/** Bytes of the first chunk when a carrier may fetch the state: that chunk only announces the offer. */
const offerBytes = 4 * 1024;

export type SnapshotAck = Extract<PeerMessage, { type: "snapshotAck" }>;

export class SnapshotSender {
  readonly #deps: SnapshotSenderDeps;
  readonly #options: SnapshotSenderOptions;
  readonly #transfers = new Map<NodeId, Transfer>();
  /** How far the last unfinished transfer to each peer came. */
  readonly #brokenOff = new Map<NodeId, Pick<Transfer, "snapshot" | "offset">>();

  constructor(deps: SnapshotSenderDeps, options: SnapshotSenderOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  /** Transfers that are under way. */
  get count(): number {
    return this.#transfers.size;
  }

  /** Begins a transfer, in the place of an earlier one to the same peer. */
  start(to: NodeId, message: Message, meta: SnapshotMeta | undefined): void {
    const { snapshot } = message;
    this.#transfers.delete(to);
    if (snapshot === undefined || meta === undefined || meta.index !== snapshot.index) {
      this.#deps.onEnd(to, false);
      return;
    }
    const { index, sizeBytes } = meta;
    const before = this.#brokenOff.get(to);
    this.#brokenOff.delete(to);
    const goesOn = before?.snapshot.index === index && before.snapshot.term === snapshot.term;
    const offset = goesOn ? before.offset : 0;
    const transfer = { to, message, snapshot, sizeBytes };
    const started: Transfer = { ...transfer, offset, sentAtMs: 0, retries: 0, reading: false };
    this.#transfers.set(to, started);
    this.#deps.logger.log("info", "sending a snapshot", { to, index, sizeBytes, offset });
    this.#deps.onEvent({ type: "snapshotSendStarted", to, index, sizeBytes, fromOffset: offset });
    this.#offer(started, meta);
  }

  acknowledged(from: NodeId, ack: SnapshotAck): void {
    const transfer = this.#transfers.get(from);
    if (transfer === undefined) return;
    if (transfer.snapshot.index !== ack.index || transfer.snapshot.term !== ack.term) return;
    transfer.retries = 0;
    if (ack.refused) this.#end(transfer, false, "the peer refused it");
    else if (ack.receivedBytes >= transfer.sizeBytes) this.#end(transfer, true, "the peer has it");
    else if (ack.receivedBytes !== transfer.offset) {
      transfer.offset = Math.max(0, ack.receivedBytes);
      this.#send(transfer);
    }
  }

  tick(): void {
    const nowMs = this.#deps.nowMs();
    for (const transfer of [...this.#transfers.values()]) {
      if (transfer.reading || nowMs - transfer.sentAtMs < this.#options.retryMs) continue;
      transfer.retries++;
      if (transfer.retries > this.#options.retriesMax) this.#end(transfer, false, "the peer does not answer");
      else this.#send(transfer);
    }
  }

  /** Forgets all transfers: this node does not lead any more. */
  cancelAll(): void {
    this.#transfers.clear();
    this.#brokenOff.clear();
  }

  /** The receiver may fetch the state by itself; while it does, it answers that it holds nothing yet. */
  #offer(transfer: Transfer, meta: SnapshotMeta): void {
    const { snapshotCarrier, post, logger } = this.#deps;
    // A state that fits into one message is sent at once.
    if (snapshotCarrier === undefined || meta.sizeBytes <= this.#options.chunkBytes) {
      this.#send(transfer);
      return;
    }
    const go = (data: Uint8Array) =>
      post(() => {
        transfer.reading = false;
        if (this.#transfers.get(transfer.to) !== transfer) return;
        transfer.message = { ...transfer.message, snapshot: { ...transfer.snapshot, data } };
        this.#send(transfer);
      });
    transfer.reading = true;
    snapshotCarrier.offer(meta).then(go, (error: unknown) => {
      logger.log("warn", "a snapshot cannot be offered for fetching", { index: meta.index, reason: messageOf(error) });
      go(new Uint8Array());
    });
  }

  #send(transfer: Transfer): void {
    if (transfer.reading) return;
    transfer.reading = true;
    transfer.sentAtMs = this.#deps.nowMs();
    const { offset, snapshot, sizeBytes, message, to } = transfer;
    const offered = offset === 0 && message.snapshot?.data.length !== 0;
    const { chunkBytes } = this.#options;
    this.#deps.snapshots.read(snapshot.index, offset, offered ? Math.min(offerBytes, chunkBytes) : chunkBytes).then(
      (data) =>
        this.#deps.post(() => {
          transfer.reading = false;
          if (this.#transfers.get(to) !== transfer) return;
          if (transfer.offset !== offset) {
            this.#send(transfer);
            return;
          }
          transfer.sentAtMs = this.#deps.nowMs();
          this.#deps.onBytes(data.length);
          this.#deps.transport.send(to, { type: "snapshotChunk", message, sizeBytes, offset, data });
        }),
      (error: unknown) =>
        this.#deps.post(() => {
          transfer.reading = false;
          if (this.#transfers.get(to) === transfer) this.#end(transfer, false, messageOf(error), error);
        }),
    );
  }

  #end(transfer: Transfer, ok: boolean, reason: string, error?: unknown): void {
    const { to, snapshot } = transfer;
    this.#transfers.delete(to);
    if (!ok) this.#brokenOff.set(to, transfer);
    this.#deps.onEvent({ type: "snapshotSendEnded", to, index: snapshot.index, ok, reason });
    const level = ok ? "info" : "warn";
    this.#deps.logger.log(level, "a snapshot transfer ended", { to, index: snapshot.index, ok, reason });
    this.#deps.onEnd(to, ok);
    // Nobody lost anything by it: the state that it was made of is here.
    if (errorCodeOf(error) === "STORAGE_CORRUPT") this.#deps.onDamaged();
  }
}
