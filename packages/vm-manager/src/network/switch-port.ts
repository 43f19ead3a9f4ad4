/**
 * One network card of a VM in its network `user`: frames go between the process of the VM, the wall and passt.
 *
 *   connecting --QEMU takes the connection--> connected --it closes--> connecting
 *   passt: none --first frame that may go out, or forwards--> running --ends--> none, for a while that grows with each end
 *   any --the process of the VM is gone, or close()--> closed; passt with it
 *
 * Who writes faster than the other side reads has to wait: neither side can fill the memory of this process.
 */
import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { messageOf } from "@blixard/common";
import { isAlive } from "../process/process-identity.ts";
import { answerDhcp, isDhcpRequest } from "./dhcp.ts";
import { FrameReader, lengthBytes, withLength } from "./frame-reader.ts";
import { type RunningPasst, startPasst } from "./passt.ts";
import type { PortConfig } from "./switch-messages.ts";
import { askForGateway, UserWall } from "./user-wall.ts";

const reconnectMs = 100;
/** A card that is not connected for so short a time is no problem that anybody is told of. */
const connectGraceMs = 2_000;
const passtRetryMs = 500;
const passtRetryMsMax = 15_000;
/** A run of that length was a good one. */
const passtStableMs = 5_000;

export interface SwitchPortDeps {
  readonly isHostAddress: (address: number) => boolean;
  /** Monotonic milliseconds. */
  readonly nowMs: () => number;
}

export class SwitchPort {
  readonly config: PortConfig;
  readonly #deps: SwitchPortDeps;
  readonly #wall: UserWall;
  #closed = false;
  #guest: Socket | undefined;
  #passt: RunningPasst | undefined;
  #passtStartedMs = 0;
  #passtFailures = 0;
  #passtNotBeforeMs = 0;
  /** Since when the card is not connected, and why; undefined while it is. */
  #unconnected: { readonly sinceMs: number; readonly why: string } | undefined;
  #passtProblem: string | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(config: PortConfig, deps: SwitchPortDeps) {
    this.config = config;
    this.#deps = deps;
    const { mac, addresses, forwards } = config;
    const { isHostAddress } = deps;
    this.#wall = new UserWall({ mac, addresses, forwards, isHostAddress });
    this.#unconnected = { sinceMs: deps.nowMs(), why: "its network card is not connected" };
    this.#connect();
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  get problem(): string | undefined {
    const { sinceMs = Number.POSITIVE_INFINITY, why } = this.#unconnected ?? {};
    return this.#deps.nowMs() - sinceMs > connectGraceMs ? why : this.#passtProblem;
  }

  /** Called now and then: ends with the VM, and starts passt again where its ports are forwarded. */
  look(): void {
    if (!isAlive(this.config.vm)) this.close();
    else if (this.config.forwards.length > 0) this.#ensurePasst();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#guest?.destroy();
    this.#endPasst();
  }

  #connect(): void {
    const socket = connect(this.config.socketPath);
    this.#guest = socket;
    const reader = new FrameReader();
    socket.on("connect", () => {
      this.#unconnected = undefined;
      this.#passt?.frames.resume();
      this.look();
    });
    socket.on("data", (data: Buffer) => this.#fromGuest(socket, reader, data));
    socket.on("drain", () => this.#passt?.frames.resume());
    socket.on("error", (error) => {
      this.#setUnconnected(`its network card cannot be reached: ${messageOf(error)}`);
    });
    socket.on("close", () => this.#disconnected(socket));
  }

  #disconnected(socket: Socket): void {
    if (this.#guest === socket) this.#guest = undefined;
    this.#setUnconnected(this.#unconnected?.why ?? "its network card is not connected");
    if (this.#closed || !isAlive(this.config.vm)) this.close();
    else this.#timer = setTimeout(() => this.#connect(), reconnectMs);
  }

  #setUnconnected(why: string): void {
    this.#unconnected = { sinceMs: this.#unconnected?.sinceMs ?? this.#deps.nowMs(), why };
  }

  #fromGuest(socket: Socket, reader: FrameReader, data: Buffer): void {
    const out: Buffer[] = [];
    for (const frame of framesOf(socket, reader, data)) {
      const content = frame.subarray(lengthBytes);
      if (isDhcpRequest(content)) {
        const answer = answerDhcp(content, this.config.mac, this.config.addresses);
        // A guest that asks and does not listen fills no memory here.
        if (answer !== undefined && !socket.writableNeedDrain) socket.write(withLength(answer));
      } else if (this.#wall.letsOut(content)) out.push(frame);
    }
    if (out.length === 0) return;
    const frames = this.#ensurePasst();
    if (frames !== undefined && !writeAll(frames, out)) socket.pause();
  }

  /** Undefined while it has ended too often. */
  #ensurePasst(): Duplex | undefined {
    if (this.#passt !== undefined) return this.#passt.frames;
    const nowMs = this.#deps.nowMs();
    if (this.#closed || nowMs < this.#passtNotBeforeMs) return undefined;
    const { addresses, forwards, confinement, mac } = this.config;
    const passt = startPasst(addresses, forwards, confinement);
    this.#passt = passt;
    this.#passtStartedMs = nowMs;
    const reader = new FrameReader();
    passt.frames.on("data", (data: Buffer) => {
      this.#passtProblem = undefined;
      const frames = framesOf(passt.frames, reader, data);
      const incoming = frames.filter((frame) => this.#wall.letsIn(frame.subarray(lengthBytes)));
      const guest = this.#guest;
      if (guest !== undefined && incoming.length > 0 && !writeAll(guest, incoming)) passt.frames.pause();
    });
    passt.frames.on("drain", () => this.#guest?.resume());
    void passt.ended.then((said) => this.#passtEnded(passt, said));
    passt.frames.write(withLength(askForGateway(mac, addresses)));
    return passt.frames;
  }

  #passtEnded(passt: RunningPasst, said: string): void {
    if (this.#passt !== passt) return;
    this.#passt = undefined;
    // What waited for it goes nowhere now.
    this.#guest?.resume();
    const nowMs = this.#deps.nowMs();
    this.#passtFailures = nowMs - this.#passtStartedMs >= passtStableMs ? 1 : this.#passtFailures + 1;
    this.#passtNotBeforeMs = nowMs + Math.min(passtRetryMs * 2 ** (this.#passtFailures - 1), passtRetryMsMax);
    this.#passtProblem = `passt has ended: ${said}`;
  }

  #endPasst(): void {
    const passt = this.#passt;
    this.#passt = undefined;
    passt?.frames.destroy();
    passt?.child.kill("SIGKILL");
  }
}

/** A stream that cannot be read any more is closed. */
function framesOf(stream: Duplex, reader: FrameReader, data: Buffer): Buffer[] {
  try {
    return reader.push(data);
  } catch {
    stream.destroy();
    return [];
  }
}

/** False when the stream has enough to do. */
function writeAll(stream: Duplex, frames: readonly Buffer[]): boolean {
  let takesMore = true;
  stream.cork();
  for (const frame of frames) takesMore = stream.write(frame);
  stream.uncork();
  return takesMore;
}
