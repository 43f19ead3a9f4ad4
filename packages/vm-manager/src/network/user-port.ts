/**
 * One network card of a VM in its network `user`: frames go between the process of the VM, the wall and passt, and those of
 * forwarded ports of UDP between the process of the VM and the relay.
 *
 *   passt: none --first frame that may go out, or forwards--> running --ends--> none, for a while that grows with each end
 *   any --the process of the VM is gone, or close()--> closed; passt with it
 *
 * Who writes faster than the other side reads has to wait: neither side can fill the memory of this process.
 */
import type { Duplex } from "node:stream";
import type { ForwardState } from "@blixard/protocol";
import { answerDhcp, isDhcpRequest } from "./dhcp.ts";
import { FrameReader, lengthBytes, withLength } from "./frame-reader.ts";
import { gatewayMac } from "./gateway-mac.ts";
import { framesOf, GuestLink, writeAll } from "./guest-link.ts";
import { answerQuestion, isNameQuestion } from "./name-question.ts";
import { readPacket } from "./packet.ts";
import { type RunningPasst, startPasst } from "./passt.ts";
import type { ProbeAnswer, ProbeAsk } from "./probe/guest-probe.ts";
import { ProbeDesk } from "./probe/probe-desk.ts";
import type { UserPortConfig } from "./switch-messages.ts";
import type { TcpConnection, TcpConnectionEvents } from "./tcp/tcp-connection.ts";
import { TcpDesk } from "./tcp/tcp-desk.ts";
import { UdpRelay } from "./udp-relay.ts";
import { forwardsOf, switchAddressOf, userLeaseOf } from "./user-addresses.ts";
import { askForGateway, UserWall } from "./user-wall.ts";

const passtRetryMs = 500;
const passtRetryMsMax = 15_000;
/** A run of that length was a good one. */
const passtStableMs = 5_000;

export interface UserPortDeps {
  readonly isHostAddress: (address: number) => boolean;
  /** Monotonic milliseconds. */
  readonly nowMs: () => number;
  /** Answers a question about names that the private networks of this VM know; undefined: somebody outside is asked. */
  readonly answerNames: (message: Buffer) => Buffer | undefined;
}

export class UserPort {
  readonly config: UserPortConfig;
  readonly #deps: UserPortDeps;
  readonly #wall: UserWall;
  readonly #guest: GuestLink;
  /** Asks the guest from the address of its gateway. */
  readonly #probes: ProbeDesk;
  readonly #connections: TcpDesk;
  readonly #relay: UdpRelay;
  #closed = false;
  #passt: RunningPasst | undefined;
  #passtStartedMs = 0;
  #passtFailures = 0;
  #passtNotBeforeMs = 0;
  #passtProblem: string | undefined;
  #passtAnswered = false;

  constructor(config: UserPortConfig, deps: UserPortDeps) {
    this.config = config;
    this.#deps = deps;
    const { mac, addresses, egress } = config;
    const forwards = forwardsOf(config.forwards, "tcp");
    const { isHostAddress, nowMs } = deps;
    this.#wall = new UserWall({ mac, addresses, forwards, egress, isHostAddress, nowMs });
    this.#guest = new GuestLink(config.vm, config.socketPath, {
      nowMs,
      onFrames: (frames) => this.#fromGuest(frames),
      onConnected: () => {
        this.#passt?.frames.resume();
        this.look();
      },
      onDrain: () => {
        this.#passt?.frames.resume();
        this.#connections.pump();
      },
      onGone: () => this.close(),
    });
    const wire = {
      send: (frame: Buffer) => void this.#guest.write([withLength(frame)]),
      guest: { mac, address: addresses.guest },
    };
    this.#probes = new ProbeDesk({ ...wire, own: { mac: gatewayMac, address: addresses.gateway } });
    this.#connections = new TcpDesk({
      ...wire,
      own: { mac: gatewayMac, address: switchAddressOf(addresses) },
      isFull: () => this.#guest.isFull,
    });
    this.#relay = new UdpRelay(forwardsOf(config.forwards, "udp"), {
      ...{ nowMs, mac, addresses, send: wire.send },
      isFull: () => this.#guest.isFull,
    });
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  get problem(): string | undefined {
    return this.#guest.problem ?? this.#passtProblem ?? this.#relay.problem;
  }

  /** Whether each forwarded port is open. passt opens its own before it answers the first time, and ends when one is taken. */
  get forwards(): readonly ForwardState[] {
    const why = this.#passtProblem;
    const answered = this.#passtAnswered ? ("open" as const) : ("opening" as const);
    const state = why === undefined ? { state: answered } : { state: "closed" as const, why };
    const tcp = forwardsOf(this.config.forwards, "tcp");
    return [
      ...tcp.map(({ port, listen }) => ({ port, listen, protocol: "tcp" as const, ...state })),
      ...this.#relay.forwards,
    ];
  }

  /** Called now and then: ends with the VM, and starts passt again where its ports are forwarded. */
  look(): void {
    if (!this.#guest.isAlive) {
      this.close();
      return;
    }
    this.#relay.look();
    // A guest whose ports are forwarded asks passt for the addresses that it answers to.
    if (this.config.forwards.length > 0) this.#ensurePasst();
  }

  async probe(ask: ProbeAsk, timeoutMs: number): Promise<ProbeAnswer> {
    // The guest asks passt for the address that it answers to.
    this.#ensurePasst();
    return await this.#probes.ask(ask, timeoutMs);
  }

  /** Opens a connection to a port of the guest. @throws when there are too many */
  connect(port: number, events: TcpConnectionEvents): TcpConnection {
    return this.#connections.connect(port, events);
  }

  close(): void {
    this.#closed = true;
    this.#probes.close();
    this.#connections.close();
    this.#relay.close();
    this.#guest.close();
    this.#endPasst();
  }

  #fromGuest(frames: readonly Buffer[]): void {
    const out: Buffer[] = [];
    for (const frame of frames) {
      const content = frame.subarray(lengthBytes);
      if (isDhcpRequest(content)) {
        const answer = answerDhcp(content, this.config.mac, userLeaseOf(this.config.addresses));
        // A guest that asks and does not listen fills no memory here.
        if (answer !== undefined && !this.#guest.isFull) this.#guest.write([withLength(answer)]);
      } else if (!this.#takes(content) && this.#wall.letsOut(content)) {
        const answer = this.#answerName(content);
        if (answer === undefined) {
          if (this.#wall.leavesNode(content)) out.push(frame);
        } else if (!this.#guest.isFull) this.#guest.write([withLength(answer)]);
      }
    }
    if (out.length === 0) return;
    const passt = this.#ensurePasst();
    if (passt !== undefined && !writeAll(passt, out)) this.#guest.pause();
  }

  /** Whether a frame of the guest is for this switch itself, which began to speak with it. */
  #takes(content: Buffer): boolean {
    return this.#probes.takes(content) || this.#connections.takes(content) || this.#relay.takes(content);
  }

  #answerName(content: Buffer): Buffer | undefined {
    const packet = readPacket(content);
    const { addresses, mac } = this.config;
    if (packet?.type !== "ipv4" || !isNameQuestion(packet, addresses.resolver)) return undefined;
    return answerQuestion(content, packet, mac, this.#deps.answerNames);
  }

  /** Undefined while it has ended too often. */
  #ensurePasst(): Duplex | undefined {
    if (this.#passt !== undefined) return this.#passt.frames;
    const nowMs = this.#deps.nowMs();
    if (this.#closed || nowMs < this.#passtNotBeforeMs) return undefined;
    const { addresses, forwards, confinement, mac } = this.config;
    const passt = startPasst(addresses, forwardsOf(forwards, "tcp"), confinement);
    this.#passt = passt;
    this.#passtStartedMs = nowMs;
    const reader = new FrameReader();
    passt.frames.on("data", (data: Buffer) => {
      this.#passtProblem = undefined;
      this.#passtAnswered = true;
      const frames = framesOf(passt.frames, reader, data);
      const incoming = frames.filter((frame) => this.#wall.letsIn(frame.subarray(lengthBytes)));
      if (!this.#guest.write(incoming)) passt.frames.pause();
    });
    passt.frames.on("drain", () => this.#guest.resume());
    void passt.ended.then((said) => this.#passtEnded(passt, said));
    passt.frames.write(withLength(askForGateway(mac, addresses)));
    return passt.frames;
  }

  #passtEnded(passt: RunningPasst, said: string): void {
    if (this.#passt !== passt) return;
    this.#passt = undefined;
    this.#passtAnswered = false;
    // What waited for it goes nowhere now.
    this.#guest.resume();
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
