/**
 * The metrics of the transport, and the count of refusals by reason that `Transport.refusals` shows. What belongs to one
 * peer carries its node id as `peer`, and goes when the peer is removed.
 */
import type { Counter, Gauge, MetricDeclaration, Metrics } from "@blixard/common";
import type { RpcSide } from "@blixard/protocol";
import type { CompressionResult } from "./frames/frame-compression.ts";
import type { Lane, PeerSessionStatus, SessionState } from "./transport-types.ts";

const counters = {
  framesSent: { name: "blixard_transport_frames_sent_total", help: "Frames written, by lane.", labelNames: ["lane"] },
  framesReceived: {
    name: "blixard_transport_frames_received_total",
    help: "Frames read, by lane.",
    labelNames: ["lane"],
  },
  payloadSent: {
    name: "blixard_transport_payload_sent_bytes_total",
    help: "Bytes of payload before compression, by lane.",
    labelNames: ["lane"],
  },
  wireSent: {
    name: "blixard_transport_wire_sent_bytes_total",
    help: "Bytes of frames as written, by lane.",
    labelNames: ["lane"],
  },
  payloadReceived: {
    name: "blixard_transport_payload_received_bytes_total",
    help: "Bytes of payload after they were unpacked, by lane.",
    labelNames: ["lane"],
  },
  wireReceived: {
    name: "blixard_transport_wire_received_bytes_total",
    help: "Bytes as read, by lane.",
    labelNames: ["lane"],
  },
  compressions: {
    name: "blixard_transport_compressions_total",
    help: "Frames long enough to compress, by result: saved, useless (sent as they were), skipped (not tried).",
    labelNames: ["lane", "result"],
  },
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
} as const satisfies Record<string, MetricDeclaration>;

const gauges = {
  sessions: { name: "blixard_transport_sessions", help: "Peer sessions, by state.", labelNames: ["state"] },
  openStreams: {
    name: "blixard_transport_open_streams",
    help: "Stream calls that are open now, by lane and by side: caller (opened by this node) or callee (served by it).",
    labelNames: ["lane", "side"],
  },
  peerReady: {
    name: "blixard_transport_peer_ready",
    help: "1 while the session with the peer is ready, else 0.",
    labelNames: ["peer"],
  },
  peerQueued: {
    name: "blixard_transport_peer_queued_messages",
    help: "Raft messages that wait for the peer, at the last heartbeat.",
    labelNames: ["peer"],
  },
  peerDropped: {
    name: "blixard_transport_peer_dropped_messages",
    help: "Raft messages to the peer that were dropped since it became a peer.",
    labelNames: ["peer"],
  },
  peerRtt: {
    name: "blixard_transport_peer_rtt_seconds",
    help: "Round trip time of the path to the peer, at the last heartbeat, where the transport measures it.",
    labelNames: ["peer"],
  },
  peerPath: {
    name: "blixard_transport_peer_path",
    help: "1 for the kind of path and the transport that reach the peer now.",
    labelNames: ["peer", "kind", "transport"],
  },
} as const satisfies Record<string, MetricDeclaration>;

const messagesPerFrame = {
  name: "blixard_transport_messages_per_frame",
  help: "Raft messages that one frame carried; its sum is the number of messages sent.",
  buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024],
} as const;

type Made<Declarations, Kind> = { readonly [Name in keyof Declarations]: Kind };

function makeAll<Declarations extends Record<string, MetricDeclaration>, Kind>(
  declarations: Declarations,
  make: (declaration: MetricDeclaration) => Kind,
): Made<Declarations, Kind> {
  const entries = Object.entries(declarations).map(([name, declaration]) => [name, make(declaration)]);
  return Object.fromEntries(entries) as Made<Declarations, Kind>;
}

export class TransportMetrics {
  readonly #counters: Made<typeof counters, Counter>;
  readonly #gauges: Made<typeof gauges, Gauge>;
  readonly #messagesPerFrame;
  readonly #refusals: Record<string, number> = {};
  readonly #sessions = new Map<SessionState, number>();
  readonly #paths = new Map<number, Readonly<Record<string, string>>>();
  readonly #openStreams: Record<RpcSide, number> = { caller: 0, callee: 0 };

  constructor(metrics: Metrics) {
    this.#counters = makeAll(counters, (declaration) => metrics.counter(declaration));
    this.#gauges = makeAll(gauges, (declaration) => metrics.gauge(declaration));
    this.#messagesPerFrame = metrics.histogram(messagesPerFrame);
    for (const side of ["caller", "callee"] as const) this.streamsChanged(side, 0);
  }

  frameSent(lane: Lane, payloadBytes: number, wireBytes: number): void {
    this.#counters.framesSent.add(1, { lane });
    this.#counters.payloadSent.add(payloadBytes, { lane });
    this.#counters.wireSent.add(wireBytes, { lane });
  }

  frameReceived(lane: Lane, payloadBytes: number): void {
    this.#counters.framesReceived.add(1, { lane });
    this.#counters.payloadReceived.add(payloadBytes, { lane });
  }

  bytesReceived(lane: Lane, wireBytes: number): void {
    this.#counters.wireReceived.add(wireBytes, { lane });
  }

  compressed(lane: Lane, result: CompressionResult): void {
    this.#counters.compressions.add(1, { lane, result });
  }

  /** Raft messages that were written into one frame. */
  messagesSent(count: number): void {
    this.#messagesPerFrame.observe(count);
  }

  dropped(reason: string, count = 1): void {
    if (count > 0) this.#counters.drops.add(count, { reason });
  }

  dialled(result: "connected" | "failed"): void {
    this.#counters.dials.add(1, { result });
  }

  refused(reason: string): void {
    this.#refusals[reason] = (this.#refusals[reason] ?? 0) + 1;
    this.#counters.refusals.add(1, { reason });
  }

  /** Stream calls were opened or ended. */
  streamsChanged(side: RpcSide, change: number): void {
    this.#openStreams[side] += change;
    const lane: Lane = "blixard/rpc/1";
    this.#gauges.openStreams.set(this.#openStreams[side], { lane, side });
  }

  sessionMoved(from: SessionState | undefined, to: SessionState): void {
    if (from !== undefined) this.#addSession(from, -1);
    this.#addSession(to, 1);
  }

  /** What the session with a peer is like now. */
  observePeer(status: PeerSessionStatus): void {
    const peer = String(status.nodeId);
    this.#gauges.peerReady.set(status.state === "ready" ? 1 : 0, { peer });
    this.#gauges.peerQueued.set(status.queuedMessages, { peer });
    this.#gauges.peerDropped.set(status.droppedMessages, { peer });
    if (status.rttMs === null) this.#gauges.peerRtt.remove({ peer });
    else this.#gauges.peerRtt.set(status.rttMs / 1000, { peer });
    const path = { peer, kind: status.path, transport: status.transport };
    const before = this.#paths.get(status.nodeId);
    if (before !== undefined) this.#gauges.peerPath.remove(before);
    this.#gauges.peerPath.set(1, path);
    this.#paths.set(status.nodeId, path);
  }

  /** The peer was removed. */
  forgetPeer(nodeId: number): void {
    const peer = String(nodeId);
    const { peerReady, peerQueued, peerDropped, peerRtt, peerPath } = this.#gauges;
    for (const gauge of [peerReady, peerQueued, peerDropped, peerRtt]) gauge.remove({ peer });
    const path = this.#paths.get(nodeId);
    if (path !== undefined) peerPath.remove(path);
    this.#paths.delete(nodeId);
  }

  refusals(): Readonly<Record<string, number>> {
    return { ...this.#refusals };
  }

  #addSession(state: SessionState, change: number): void {
    const count = (this.#sessions.get(state) ?? 0) + change;
    this.#sessions.set(state, count);
    this.#gauges.sessions.set(count, { state });
  }
}
