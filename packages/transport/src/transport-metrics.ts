/** The metrics of the transport, and the count of refusals by reason that `Transport.refusals` shows. */
import type { Metrics } from "@blixard/common";
import type { Lane, SessionState } from "./transport-types.ts";

const declarations = {
  framesSent: { name: "blixard_transport_frames_sent_total", help: "Frames written, by lane.", labelNames: ["lane"] },
  framesReceived: {
    name: "blixard_transport_frames_received_total",
    help: "Frames read, by lane.",
    labelNames: ["lane"],
  },
  payloadBytes: {
    name: "blixard_transport_payload_sent_bytes_total",
    help: "Bytes of payload before compression, by lane.",
    labelNames: ["lane"],
  },
  wireBytes: {
    name: "blixard_transport_wire_sent_bytes_total",
    help: "Bytes of frames as written, by lane.",
    labelNames: ["lane"],
  },
  messagesSent: { name: "blixard_transport_messages_sent_total", help: "Raft messages written into frames." },
  drops: {
    name: "blixard_transport_messages_dropped_total",
    help: "Raft messages that were not sent, by reason.",
    labelNames: ["reason"],
  },
  refusals: {
    name: "blixard_transport_refusals_total",
    help: "Incoming connections and messages that were refused, by reason.",
    labelNames: ["reason"],
  },
  dials: { name: "blixard_transport_dials_total", help: "Connection attempts, by result.", labelNames: ["result"] },
  sessions: { name: "blixard_transport_sessions", help: "Peer sessions, by state.", labelNames: ["state"] },
} as const;

export class TransportMetrics {
  readonly #metrics: { readonly [Name in keyof typeof declarations]: (value: number, label?: string) => void };
  readonly #refusals: Record<string, number> = {};
  readonly #sessions = new Map<SessionState, number>();

  constructor(metrics: Metrics) {
    const counter = (name: keyof typeof declarations) => {
      const declaration = declarations[name];
      const added = metrics.counter(declaration);
      const [labelName] = "labelNames" in declaration ? declaration.labelNames : [];
      return (value: number, label?: string) =>
        added.add(value, labelName === undefined || label === undefined ? {} : { [labelName]: label });
    };
    const gauge = metrics.gauge(declarations.sessions);
    this.#metrics = {
      framesSent: counter("framesSent"),
      framesReceived: counter("framesReceived"),
      payloadBytes: counter("payloadBytes"),
      wireBytes: counter("wireBytes"),
      messagesSent: counter("messagesSent"),
      drops: counter("drops"),
      refusals: counter("refusals"),
      dials: counter("dials"),
      sessions: (value, label) => gauge.set(value, label === undefined ? {} : { state: label }),
    };
  }

  frameSent(lane: Lane, payloadBytes: number, wireBytes: number): void {
    this.#metrics.framesSent(1, lane);
    this.#metrics.payloadBytes(payloadBytes, lane);
    this.#metrics.wireBytes(wireBytes, lane);
  }

  frameReceived(lane: Lane, _payloadBytes: number): void {
    this.#metrics.framesReceived(1, lane);
  }

  messagesSent(count: number): void {
    this.#metrics.messagesSent(count);
  }

  dropped(reason: string, count = 1): void {
    if (count > 0) this.#metrics.drops(count, reason);
  }

  dialled(result: "connected" | "failed"): void {
    this.#metrics.dials(1, result);
  }

  refused(reason: string): void {
    this.#refusals[reason] = (this.#refusals[reason] ?? 0) + 1;
    this.#metrics.refusals(1, reason);
  }

  sessionMoved(from: SessionState | undefined, to: SessionState): void {
    if (from !== undefined) this.#addSession(from, -1);
    this.#addSession(to, 1);
  }

  refusals(): Readonly<Record<string, number>> {
    return { ...this.#refusals };
  }

  #addSession(state: SessionState, change: number): void {
    const count = (this.#sessions.get(state) ?? 0) + change;
    this.#sessions.set(state, count);
    this.#metrics.sessions(count, state);
  }
}
