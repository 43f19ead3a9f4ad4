/**
 * One network card of a VM in a private network: its frames go to the fabric, and what the fabric has for it comes back. Connections
 * that the switch opens into the guest begin at its own address there.
 */
import { withLength } from "../frame-reader.ts";
import { GuestLink } from "../guest-link.ts";
import { macNumberOf } from "../packet.ts";
import type { PrivatePortConfig } from "../switch-messages.ts";
import type { TcpConnection, TcpConnectionEvents } from "../tcp/tcp-connection.ts";
import { TcpDesk, type TcpDeskDeps } from "../tcp/tcp-desk.ts";

/** Of connections into the guest. */
export type ConnectionEnds = Pick<TcpDeskDeps, "own" | "guest">;

/** What may wait for a guest that does not read; all beyond is lost, as on a wire. */
export const portBytesMax = 1024 * 1024;

export interface PrivatePortDeps {
  /** Monotonic milliseconds. */
  readonly nowMs: () => number;
  /** Frames of the guest, each with its length in front. */
  readonly onFrames: (frames: readonly Buffer[]) => void;
  readonly onClosed: () => void;
}

export class PrivatePort {
  readonly config: PrivatePortConfig;
  readonly macNumber: number;
  readonly #guest: GuestLink;
  readonly #onClosed: () => void;
  /** From the first connection on. */
  #desk: TcpDesk | undefined;
  #closed = false;

  constructor(config: PrivatePortConfig, { nowMs, onFrames, onClosed }: PrivatePortDeps) {
    this.config = config;
    this.macNumber = macNumberOf(config.mac);
    this.#onClosed = onClosed;
    this.#guest = new GuestLink(config.vm, config.socketPath, {
      ...{ nowMs, onFrames },
      onConnected: () => {},
      onDrain: () => this.#desk?.pump(),
      onGone: () => this.close(),
    });
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  get problem(): string | undefined {
    return this.#guest.problem;
  }

  look(): void {
    if (!this.#guest.isAlive) this.close();
  }

  /** Frames with their lengths in front, in memory that is nobody else's. False when they are lost. */
  deliver(frames: Buffer): boolean {
    if (this.#guest.waitingBytes + frames.length > portBytesMax) return false;
    this.#guest.write([frames]);
    return true;
  }

  /** Opens a connection to a port of the guest. @throws when there are too many */
  connect(ends: ConnectionEnds, port: number, events: TcpConnectionEvents): TcpConnection {
    this.#desk ??= new TcpDesk({
      ...ends,
      send: (frame) => void this.#guest.write([withLength(frame)]),
      isFull: () => this.#guest.isFull,
    });
    return this.#desk.connect(port, events);
  }

  /** Whether a frame of the guest to the address of the switch was for a connection, of now or of before. */
  takes(frame: Buffer): boolean {
    return this.#desk?.takes(frame) === true;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#desk?.close();
    this.#guest.close();
    this.#onClosed();
  }
}
