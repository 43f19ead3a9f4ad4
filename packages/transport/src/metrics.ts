/**
 * The metrics of the transport, and the count of refusals by reason that `Transport.refusals` shows. What belongs to
 * one peer carries its node id as `peer`, and goes when the peer is removed.
 */
import { type BoundMetrics, bindMetrics, type MetricDeclarations, type Metrics } from "@blixard/common";
import type { RpcSide } from "@blixard/protocol";
import type { CompressionResult } from "./frames/frame-compression.ts";
import type { Lane, PeerSessionStatus, SessionState } from "./transport-types.ts";

const dropReasons = [
  "unknown_node",
  "no_session",
  "queue_full",
  "too_large",
  "no_encoding",
  "session_broke",
  "closed",
] as const;
/** Why a Raft message was not sent. */
export type DropReason = (typeof dropReasons)[number];

const refusals = [
  "unknown_peer",
  "starting",
  "wrong_node",
  "older_start",
  "forged_from",
  "bad_frame",
  "frame_too_large",
  "unsupported_version",
  "credit_overrun",
  "not_reading",
  "too_many_connections",
  "too_many_streams",
  "closing",
] as const;
/** Why something that came in was refused. */
export type Refusal = (typeof refusals)[number];

const declarations = {
  framesSent: {
    type: "counter",
    name: "blixard_transport_frames_sent_total",
    help: "Frames written, by lane.",
    labels: { lane: "any" },
  },
  framesReceived: {
    type: "counter",
    name: "blixard_transport_frames_received_total",
    help: "Frames read, by lane.",
    labels: { lane: "any" },
  },
  payloadSent: {
    type: "counter",
    name: "blixard_transport_payload_sent_bytes_total",
    help: "Bytes of payload before compression, by lane.",
    labels: { lane: "any" },
  },
  wireSent: {
    type: "counter",
    name: "blixard_transport_wire_sent_bytes_total",
    help: "Bytes of frames as written, by lane.",
    labels: { lane: "any" },
  },
  payloadReceived: {
    type: "counter",
    name: "blixard_transport_payload_received_bytes_total",
    help: "Bytes of payload after they were unpacked, by lane.",
    labels: { lane: "any" },
  },
  wireReceived: {
    type: "counter",
    name: "blixard_transport_wire_received_bytes_total",
    help: "Bytes as read, by lane.",
    labels: { lane: "any" },
  },
  compressions: {
    type: "counter",
    name: "blixard_transport_compressions_total",
    help: "Frames long enough to compress, by result: saved, useless (sent as they were), skipped (not tried).",
    labels: { lane: "any", result: ["saved", "useless", "skipped"] },
  },
  drops: {
    type: "counter",
    name: "blixard_transport_messages_dropped_total",
    help: "Raft messages that were not sent, by reason.",
    labels: { reason: dropReasons },
  },
  refusals: {
    type: "counter",
    name: "blixard_transport_refusals_total",
    help: "Incoming connections and messages that were refused, by reason.",
    labels: { reason: refusals },
  },
  dials: {
    type: "counter",
    name: "blixard_transport_dials_total",
    help: "Connection attempts, by result.",
    labels: { result: ["connected", "failed"] },
  },
  sessions: {
    type: "gauge",
    name: "blixard_transport_sessions",
    help: "Peer sessions, by state.",
    labels: { state: "any" },
  },
  openStreams: {
    type: "gauge",
    name: "blixard_transport_open_streams",
    help: "Stream calls that are open now, by lane and by side: caller (opened by this node) or callee (served by it).",
    labels: { lane: "any", side: ["caller", "callee"] },
  },
  peerReady: {
    type: "gauge",
    name: "blixard_transport_peer_ready",
    help: "1 while the session with the peer is ready, else 0.",
    labels: { peer: "any" },
  },
  peerQueued: {
    type: "gauge",
    name: "blixard_transport_peer_queued_messages",
    help: "Raft messages that wait for the peer, at the last heartbeat.",
    labels: { peer: "any" },
  },
  peerDropped: {
    type: "gauge",
    name: "blixard_transport_peer_dropped_messages",
    help: "Raft messages to the peer that were dropped since it became a peer.",
    labels: { peer: "any" },
  },
  peerRtt: {
    type: "gauge",
    name: "blixard_transport_peer_rtt_seconds",
    help: "Round trip time of the path to the peer, at the last heartbeat, where the transport measures it.",
    labels: { peer: "any" },
  },
  peerPath: {
    type: "gauge",
    name: "blixard_transport_peer_path",
    help: "1 for the kind of path and the transport that reach the peer now.",
    labels: { peer: "any", kind: "any", transport: "any" },
  },
  messagesPerFrame: {
    type: "histogram",
    name: "blixard_transport_messages_per_frame",
    help: "Raft messages that one frame carried; its sum is the number of messages sent.",
    buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024],
  },
} as const satisfies MetricDeclarations;

export class TransportMetrics {
  readonly #metrics: BoundMetrics<typeof declarations>;
  readonly #refusals: Record<string, number> = {};
  readonly #sessions = new Map<SessionState, number>();
  readonly #paths = new Map<number, { readonly peer: string; readonly kind: string; readonly transport: string }>();
  readonly #openStreams: Record<RpcSide, number> = { caller: 0, callee: 0 };

  constructor(metrics: Metrics) {
    this.#metrics = bindMetrics(metrics, declarations);
    for (const side of ["caller", "callee"] as const) this.streamsChanged(side, 0);
  }

  frameSent(lane: Lane, payloadBytes: number, wireBytes: number): void {
    this.#metrics.framesSent.add(1, { lane });
    this.#metrics.payloadSent.add(payloadBytes, { lane });
    this.#metrics.wireSent.add(wireBytes, { lane });
  }

  frameReceived(lane: Lane, payloadBytes: number): void {
    this.#metrics.framesReceived.add(1, { lane });
    this.#metrics.payloadReceived.add(payloadBytes, { lane });
  }

  bytesReceived(lane: Lane, wireBytes: number): void {
    this.#metrics.wireReceived.add(wireBytes, { lane });
  }

  compressed(lane: Lane, result: CompressionResult): void {
    this.#metrics.compressions.add(1, { lane, result });
  }

  /** Raft messages that were written into one frame. */
  messagesSent(count: number): void {
    this.#metrics.messagesPerFrame.observe(count);
  }

  dropped(reason: DropReason, count = 1): void {
    if (count > 0) this.#metrics.drops.add(count, { reason });
  }

  dialled(result: "connected" | "failed"): void {
    this.#metrics.dials.add(1, { result });
  }

  refused(reason: Refusal): void {
    this.#refusals[reason] = (this.#refusals[reason] ?? 0) + 1;
    this.#metrics.refusals.add(1, { reason });
  }

  /** Stream calls were opened or ended. */
  streamsChanged(side: RpcSide, change: number): void {
    this.#openStreams[side] += change;
    const lane: Lane = "blixard/rpc/1";
    this.#metrics.openStreams.set(this.#openStreams[side], { lane, side });
  }

  sessionMoved(from: SessionState | undefined, to: SessionState): void {
    if (from !== undefined) this.#addSession(from, -1);
    this.#addSession(to, 1);
  }

  /** What the session with a peer is like now. */
  observePeer(status: PeerSessionStatus): void {
    const peer = String(status.nodeId);
    this.#metrics.peerReady.set(status.state === "ready" ? 1 : 0, { peer });
    this.#metrics.peerQueued.set(status.queuedMessages, { peer });
    this.#metrics.peerDropped.set(status.droppedMessages, { peer });
    if (status.rttMs === null) this.#metrics.peerRtt.remove({ peer });
    else this.#metrics.peerRtt.set(status.rttMs / 1000, { peer });
    const path = { peer, kind: status.path, transport: status.transport };
    const before = this.#paths.get(status.nodeId);
    if (before !== undefined) this.#metrics.peerPath.remove(before);
    this.#metrics.peerPath.set(1, path);
    this.#paths.set(status.nodeId, path);
  }

  /** The peer was removed. */
  forgetPeer(nodeId: number): void {
    const peer = String(nodeId);
    const { peerReady, peerQueued, peerDropped, peerRtt, peerPath } = this.#metrics;
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
    this.#metrics.sessions.set(count, { state });
  }
}
