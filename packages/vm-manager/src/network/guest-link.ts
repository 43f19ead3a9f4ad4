/**
 * The connection with a network card of a VM, whose process listens for it: opened, and opened again when it closes, for as long as
 * that process lives.
 */
import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { messageOf } from "@blixard/common";
import { isAlive, type ProcessIdentity } from "../process/process-identity.ts";
import { FrameReader } from "./frame-reader.ts";

const reconnectMs = 100;
/** A card that is not connected for so short a time is no problem that anybody is told of. */
const connectGraceMs = 2_000;

export interface GuestLinkDeps {
  /** Monotonic milliseconds. */
  readonly nowMs: () => number;
  /** Whole frames, each with its length in front; they share memory with each other. */
  readonly onFrames: (frames: readonly Buffer[]) => void;
  readonly onConnected: () => void;
  /** It takes more again. */
  readonly onDrain: () => void;
  /** The process of the VM is gone. */
  readonly onGone: () => void;
}

export class GuestLink {
  readonly #vm: ProcessIdentity;
  readonly #socketPath: string;
  readonly #deps: GuestLinkDeps;
  #closed = false;
  #socket: Socket | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** Since when the card is not connected, and why; undefined while it is. */
  #unconnected: { readonly sinceMs: number; readonly why: string } | undefined;

  constructor(vm: ProcessIdentity, socketPath: string, deps: GuestLinkDeps) {
    this.#vm = vm;
    this.#socketPath = socketPath;
    this.#deps = deps;
    this.#unconnected = { sinceMs: deps.nowMs(), why: "its network card is not connected" };
    this.#connect();
  }

  get isAlive(): boolean {
    return isAlive(this.#vm);
  }

  /** Why no frame passes; undefined when they do, and for a short while in which they do not. */
  get problem(): string | undefined {
    const { sinceMs = Number.POSITIVE_INFINITY, why } = this.#unconnected ?? {};
    return this.#deps.nowMs() - sinceMs > connectGraceMs ? why : undefined;
  }

  /** It has enough to do. */
  get isFull(): boolean {
    return this.#socket?.writableNeedDrain ?? false;
  }

  /** Bytes that the card has not taken yet. */
  get waitingBytes(): number {
    return this.#socket?.writableLength ?? 0;
  }

  /** Frames with their lengths in front. False when the card has enough to do; what comes while it is not connected is lost. */
  write(frames: readonly Buffer[]): boolean {
    return this.#socket === undefined || frames.length === 0 || writeAll(this.#socket, frames);
  }

  pause(): void {
    this.#socket?.pause();
  }

  resume(): void {
    this.#socket?.resume();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#socket?.destroy();
  }

  #connect(): void {
    const socket = connect(this.#socketPath);
    this.#socket = socket;
    const reader = new FrameReader();
    socket.on("connect", () => {
      this.#unconnected = undefined;
      this.#deps.onConnected();
    });
    socket.on("data", (data: Buffer) => {
      const frames = framesOf(socket, reader, data);
      if (frames.length > 0) this.#deps.onFrames(frames);
    });
    socket.on("drain", () => this.#deps.onDrain());
    socket.on("error", (error) => this.#setUnconnected(`its network card cannot be reached: ${messageOf(error)}`));
    socket.on("close", () => this.#disconnected(socket));
  }

  #disconnected(socket: Socket): void {
    if (this.#socket === socket) this.#socket = undefined;
    this.#setUnconnected(this.#unconnected?.why ?? "its network card is not connected");
    if (this.#closed) return;
    if (isAlive(this.#vm)) this.#timer = setTimeout(() => this.#connect(), reconnectMs);
    else this.#deps.onGone();
  }

  #setUnconnected(why: string): void {
    this.#unconnected = { sinceMs: this.#unconnected?.sinceMs ?? this.#deps.nowMs(), why };
  }
}

/** A stream that cannot be read any more is closed. */
export function framesOf(stream: Duplex, reader: FrameReader, data: Buffer): Buffer[] {
  try {
    return reader.push(data);
  } catch {
    stream.destroy();
    return [];
  }
}

/** False when the stream has enough to do. */
export function writeAll(stream: Duplex, frames: readonly Buffer[]): boolean {
  let takesMore = true;
  stream.cork();
  for (const frame of frames) takesMore = stream.write(frame);
  stream.uncork();
  return takesMore;
}
