/**
 * One Raft connection between two members: the greeting, then batches of messages.
 *
 *   dialler:   open --hello--> wait for the answer --hello heard--> greeted
 *   acceptor:  open --hello heard--> the session decides --answer--> greeted
 *
 * The session uses a link for messages only when both sides have greeted, so both agree which connection is in use.
 */
import { BlixardError } from "@blixard/common";
import { decodePeerMessages } from "@blixard/protocol/peer-messages";
import type { PeerMessage } from "@blixard/raft";
import type { Frame, FrameOptions } from "../frames/frame.ts";
import { FrameLink, type LinkEnd } from "../frames/frame-link.ts";
import type { ReadPace } from "../frames/read-pace.ts";
import type { StreamClass } from "../frames/stream-class.ts";
import type { TransportMetrics } from "../metrics.ts";
import type { Connection } from "../transport-types.ts";
import { decodeHello, encodeHello, type Hello, helloCapability } from "./hello.ts";

export interface PeerLinkHandlers {
  readonly pace: ReadPace;
  readonly next: (link: PeerLink, streamClass: StreamClass) => Uint8Array | undefined;
  readonly onHello: (link: PeerLink, hello: Hello) => void;
  readonly onMessages: (link: PeerLink, messages: readonly PeerMessage[]) => void;
  /** Messages of a later release were left out. */
  readonly onUnsupported: (link: PeerLink, reason: string) => void;
  readonly onEnd: (link: PeerLink, end: LinkEnd) => void;
}

export class PeerLink {
  readonly dialledHere: boolean;
  readonly #link: FrameLink;
  readonly #handlers: PeerLinkHandlers;
  #hello: Hello | undefined;
  #heard = false;

  constructor(
    connection: Connection,
    dialledHere: boolean,
    options: FrameOptions,
    handlers: PeerLinkHandlers,
    metrics: TransportMetrics,
  ) {
    this.dialledHere = dialledHere;
    this.#handlers = handlers;
    this.#link = new FrameLink(
      connection,
      options,
      {
        pace: () => handlers.pace,
        next: (streamClass) => handlers.next(this, streamClass),
        onFrame: (frame) => this.#onFrame(frame),
        onUnsupported: ({ message }) => handlers.onUnsupported(this, message),
        onEnd: (end) => handlers.onEnd(this, end),
      },
      metrics,
    );
  }

  get connection(): Connection {
    return this.#link.connection;
  }

  get ended(): boolean {
    return this.#link.ended;
  }

  /** What the other side said; undefined before. */
  get hello(): Hello | undefined {
    return this.#hello;
  }

  /** Whether anything was heard since the last call. */
  takeHeard(): boolean {
    const heard = this.#heard;
    this.#heard = false;
    return heard;
  }

  sendHello(hello: Hello): void {
    this.#link.sendHello(encodeHello(hello));
  }

  wake(streamClass: StreamClass): void {
    this.#link.wake(streamClass);
  }

  close(reason: string): void {
    this.#link.close(reason);
  }

  #onFrame(frame: Frame): void {
    this.#heard = true;
    if (frame.hello) {
      if (this.#hello !== undefined) throw new BlixardError("FRAME_CORRUPT", "a second hello");
      this.#hello = decodeHello(frame.payload);
      if (((this.#hello.capabilities ?? 0) & helloCapability.frameDictionary) !== 0) this.#link.useDictionary();
      this.#handlers.onHello(this, this.#hello);
      return;
    }
    // Streams overtake each other, so an append may stand before the answer to the hello. Raft repeats it.
    if (this.#hello === undefined) return;
    // An empty frame is a heartbeat of the session: a sign of life without messages.
    this.#handlers.onMessages(this, frame.payload.length > 0 ? decodePeerMessages(frame.payload) : []);
  }
}
