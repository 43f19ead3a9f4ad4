/** The probes of one network card that are under way, and which frames of the guest are for them. */
import { randomInt } from "node:crypto";
import { formatIpv4 } from "@blixard/common";
import type { Ipv4End } from "../ipv4-frame.ts";
import { etherHeaderBytes } from "../packet.ts";
import { readSegment } from "../tcp/tcp-segment.ts";
import { GuestProbe, type ProbeAnswer, type ProbeAsk } from "./guest-probe.ts";

/** Ports below 1024 that programs hardly ever connect from: what passt shows the guest comes from others. */
const firstPort = 960;
const portsMax = 64;

export interface ProbeDeskDeps {
  readonly send: (frame: Buffer) => void;
  readonly own: Omit<Ipv4End, "port">;
  readonly guest: Omit<Ipv4End, "port">;
}

export class ProbeDesk {
  readonly #deps: ProbeDeskDeps;
  readonly #probes = new Map<number, { readonly probe: GuestProbe; readonly port: number }>();
  #next = 0;

  constructor(deps: ProbeDeskDeps) {
    this.#deps = deps;
  }

  async ask(ask: ProbeAsk, timeoutMs: number): Promise<ProbeAnswer> {
    if (this.#probes.size >= portsMax) throw new Error("too many probes of one network card are under way");
    do this.#next = (this.#next + 1) % portsMax;
    while (this.#probes.has(firstPort + this.#next));
    const port = firstPort + this.#next;
    const { send, own, guest } = this.#deps;
    const probe = new GuestProbe(ask, timeoutMs, {
      send,
      own: { ...own, port },
      guest: { ...guest, port: ask.port },
      sequence: randomInt(2 ** 32),
      host: formatIpv4(guest.address),
    });
    this.#probes.set(port, { probe, port: ask.port });
    try {
      return await probe.answer;
    } finally {
      this.#probes.delete(port);
    }
  }

  /** Whether the frame of the guest was for a probe, and so for nobody else. */
  takes(frame: Buffer): boolean {
    if (this.#probes.size === 0 || frame.length < etherHeaderBytes) return false;
    const segment = readSegment(frame);
    if (segment === undefined || segment.destination.address !== this.#deps.own.address) return false;
    const found = this.#probes.get(segment.destination.port);
    if (found === undefined || found.port !== segment.source.port) return false;
    if (segment.source.address === this.#deps.guest.address) found.probe.receive(segment);
    return true;
  }

  close(): void {
    for (const { probe } of this.#probes.values()) probe.cancel();
  }
}
