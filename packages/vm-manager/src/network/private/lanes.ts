/**
 * The lanes to the switches of other nodes, one for each direction. What waits for one is bounded by its bytes: a guest that floods
 * loses frames, and neither memory nor another lane pays for it.
 *
 *   idle --first records--> dialing --connected--> writing --it breaks--> idle, for a while that grows with each failure
 */
import { BlixardError, linkSignal, messageOf } from "@blixard/common";
import { FrameReader, lengthBytes } from "../frame-reader.ts";
import type { CarrierEndpoint, FrameCarrier, FrameLink } from "./frame-carrier.ts";
import { decodeRecord, type LaneRecord } from "./lane-record.ts";
import type { DropReason } from "./private-wall.ts";

/** What waits for one node at most. */
export const laneBytesMax = 1024 * 1024;
const batchBytes = 64 * 1024;
const readBytes = 64 * 1024;
const dialTimeoutMs = 5_000;
/** A connection that takes nothing for so long is given up. */
const writeTimeoutMs = 5_000;
const retryMsMin = 200;
const retryMsMax = 5_000;
/** Failures in a row of which people are told: a switch that is started anew causes one. */
const toldFailures = 2;
/** Nodes are asked for their switches every few seconds. */
const unknownToldMs = 10_000;
/** Nothing is known of a lane for which nobody has had a frame for so long. */
const knownMs = 120_000;

const whyLengthMax = 200;

export interface LanePeer extends CarrierEndpoint {
  readonly nodeId: number;
}

/** The way to the switch of another node. */
export interface LaneStatus {
  readonly node: number;
  readonly connected: boolean;
  /** Why no frame passes; undefined when they do, or when there was none. */
  readonly problem?: string;
}

export interface LanesDeps {
  readonly carrier: FrameCarrier;
  /** Monotonic milliseconds. */
  readonly nowMs: () => number;
  readonly onRecords: (nodeId: number, records: readonly (LaneRecord | undefined)[]) => void;
}

export class Lanes {
  readonly #deps: LanesDeps;
  readonly #out = new Map<number, OutLane>();
  readonly #in = new Map<number, FrameLink>();
  /** Nodes for which there were frames, and whose switch is not known. */
  readonly #unknown = new Map<number, { readonly sinceMs: number; readonly atMs: number }>();
  #peers: ReadonlyMap<number, LanePeer> = new Map();

  constructor(deps: LanesDeps) {
    this.#deps = deps;
  }

  async listen(): Promise<void> {
    await this.#deps.carrier.listen(
      (endpointId) => this.#nodeOf(endpointId) !== undefined,
      (link) => void this.#take(link),
    );
  }

  /** The nodes to which there is a connection now. */
  get connected(): readonly number[] {
    return [...this.#out].flatMap(([nodeId, lane]) => (lane.isConnected ? [nodeId] : []));
  }

  /** Why frames do not pass to nodes, for which there were some of late. */
  get problems(): ReadonlyMap<number, string> {
    const knownSinceMs = this.#deps.nowMs() - knownMs;
    const unknown = [...this.#unknown].flatMap(([nodeId, { sinceMs, atMs }]) =>
      atMs - sinceMs >= unknownToldMs && atMs >= knownSinceMs
        ? [[nodeId, "it has not said which switch it has"] as const]
        : [],
    );
    const broken = [...this.#out].flatMap(([nodeId, lane]) => {
      const { failure } = lane;
      return failure !== undefined && failure.atMs >= knownSinceMs ? [[nodeId, failure.why] as const] : [];
    });
    return new Map([...unknown, ...broken]);
  }

  /** Each node that is known, or for which there were frames of late. */
  get status(): readonly LaneStatus[] {
    const { problems } = this;
    return [...new Set([...this.#peers.keys(), ...problems.keys()])].map((node) => {
      const problem = problems.get(node);
      const connected = this.#out.get(node)?.isConnected === true;
      return { node, connected, ...(problem === undefined ? {} : { problem }) };
    });
  }

  /** Whom frames are taken from and sent to; connections with all others end. */
  setPeers(peers: readonly LanePeer[]): void {
    this.#peers = new Map(peers.map((peer) => [peer.nodeId, peer]));
    for (const nodeId of this.#peers.keys()) this.#unknown.delete(nodeId);
    for (const [nodeId, lane] of this.#out) {
      const peer = this.#peers.get(nodeId);
      if (peer?.endpointId === lane.peer.endpointId) {
        lane.peer = peer;
        continue;
      }
      lane.close();
      this.#out.delete(nodeId);
    }
    for (const [nodeId, link] of this.#in) {
      if (this.#peers.get(nodeId)?.endpointId === link.remoteEndpointId) continue;
      link.close("no neighbour any more");
      this.#in.delete(nodeId);
    }
  }

  send(nodeId: number, records: Buffer): DropReason | undefined {
    const peer = this.#peers.get(nodeId);
    if (peer === undefined) {
      const atMs = this.#deps.nowMs();
      this.#unknown.set(nodeId, { sinceMs: this.#unknown.get(nodeId)?.sinceMs ?? atMs, atMs });
      return "no_lane";
    }
    const lane = this.#out.get(nodeId) ?? new OutLane(peer, this.#deps);
    this.#out.set(nodeId, lane);
    return lane.send(records);
  }

  #nodeOf(endpointId: string): number | undefined {
    for (const peer of this.#peers.values()) if (peer.endpointId === endpointId) return peer.nodeId;
    return undefined;
  }

  /** The newest connection of a node counts. */
  async #take(link: FrameLink): Promise<void> {
    const nodeId = this.#nodeOf(link.remoteEndpointId);
    if (nodeId === undefined) return link.close("no neighbour");
    this.#in.get(nodeId)?.close("there is a newer one");
    this.#in.set(nodeId, link);
    const reader = new FrameReader();
    try {
      for (;;) {
        const bytes = await link.read(readBytes);
        if (bytes === undefined || this.#in.get(nodeId) !== link) break;
        const records = reader.push(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
        this.#deps.onRecords(
          nodeId,
          records.map((record) => decodeRecord(record.subarray(lengthBytes))),
        );
      }
    } catch {
      // It broke, or says what cannot be read: the other side comes again.
    }
    link.close("over");
    if (this.#in.get(nodeId) === link) this.#in.delete(nodeId);
  }
}

class OutLane {
  peer: LanePeer;
  readonly #deps: LanesDeps;
  readonly #closed = new AbortController();
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #link: FrameLink | undefined;
  #busy = false;
  #failures = 0;
  #notBeforeMs = 0;
  #failure: { readonly why: string; readonly atMs: number } | undefined;

  constructor(peer: LanePeer, deps: LanesDeps) {
    this.peer = peer;
    this.#deps = deps;
  }

  get isConnected(): boolean {
    return this.#link !== undefined;
  }

  /** The last of several in a row; undefined once a frame has passed. */
  get failure(): { readonly why: string; readonly atMs: number } | undefined {
    return this.#failures < toldFailures ? undefined : this.#failure;
  }

  send(records: Buffer): DropReason | undefined {
    if (this.#link === undefined && this.#deps.nowMs() < this.#notBeforeMs) return "no_lane";
    if (this.#waitingBytes + records.length > laneBytesMax) return "full";
    this.#waiting.push(records);
    this.#waitingBytes += records.length;
    if (!this.#busy) void this.#run();
    return undefined;
  }

  close(): void {
    this.#closed.abort();
    this.#link?.close("no neighbour any more");
    this.#link = undefined;
  }

  async #run(): Promise<void> {
    this.#busy = true;
    try {
      while (this.#waiting.length > 0 && !this.#closed.signal.aborted) {
        this.#link ??= await this.#dial();
        await writeInTime(this.#link, this.#nextBatch());
        this.#failures = 0;
      }
    } catch (error) {
      this.#failure = { why: messageOf(error).slice(0, whyLengthMax), atMs: this.#deps.nowMs() };
      this.#link?.close("it broke");
      this.#link = undefined;
      this.#notBeforeMs = this.#deps.nowMs() + Math.min(retryMsMin * 2 ** this.#failures++, retryMsMax);
      this.#waiting = [];
      this.#waitingBytes = 0;
    } finally {
      this.#busy = false;
    }
  }

  async #dial(): Promise<FrameLink> {
    const dialing = linkSignal(this.#closed.signal);
    const timer = setTimeout(() => dialing.abort(new BlixardError("UNREACHABLE", "no answer")), dialTimeoutMs);
    try {
      return await this.#deps.carrier.connect(this.peer, dialing.signal);
    } finally {
      clearTimeout(timer);
      dialing.release();
    }
  }

  /** Whole records, so that those that wait are of use to a new connection. */
  #nextBatch(): Buffer {
    let count = 0;
    let bytes = 0;
    while (count < this.#waiting.length && (count === 0 || bytes < batchBytes)) {
      bytes += this.#waiting[count]?.length ?? 0;
      count++;
    }
    const batch = Buffer.concat(this.#waiting.splice(0, count));
    this.#waitingBytes -= batch.length;
    return batch;
  }
}

async function writeInTime(link: FrameLink, bytes: Buffer): Promise<void> {
  const timer = setTimeout(() => link.close("nothing was taken for long"), writeTimeoutMs);
  try {
    await link.write(bytes);
  } finally {
    clearTimeout(timer);
  }
}
